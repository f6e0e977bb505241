/*
 * Sets of session variables. A set is one allocation: the header, the sorted array, then all strings.
 * "Changing" one makes another; a client's SET is rare beside the statements that only compare pointers.
 *
 * A table of shared sets is a chained hash of the sets themselves; its buckets double when there are more
 * sets than buckets.
 *
 * Invariants: names are strictly ascending by strcmp(); hash is a function of the members alone, and seeded
 * per process, so it may be compared between threads.
 *
 * Not responsible for: what a name or value means, whether the server accepts it.
 */
#include "backend/varset.h"

#include "base/arena.h"
#include "base/hashmap.h"
#include <assert.h>
#include <stdlib.h>

static size_t count_of(const struct varset *v)
{
    return v ? v->n : 0;
}

/* Copies n members, which are sorted, into a set of their own. */
static struct varset *build(const struct var *vars, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(vars[i].name) + strlen(vars[i].value) + 2;
    size_t head = sizeof(struct varset) + n * sizeof(struct var);
    struct varset *v = xmalloc(head + bytes);
    v->refs = 1;
    v->n = (unsigned)n;
    v->table = NULL;
    v->next = NULL;
    char *at = (char *)v + head;
    const char *text = at;
    for (size_t i = 0; i < n; i++) {
        v->vars[i].name = at;
        at = stpcpy(at, vars[i].name) + 1;
        v->vars[i].value = at;
        at = stpcpy(at, vars[i].value) + 1;
    }
    v->hash = n ? hash_bytes64(text, bytes) : 0;
    v->has_names = false;
    v->names_id = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(v->vars[i].name, "search_path") == 0 || strcmp(v->vars[i].name, "role") == 0)
            v->has_names = true;
    return v;
}

/* --- sharing ---------------------------------------------------------------------------------- */

#define FIRST_BUCKETS ((size_t)16)

struct varset_table {
    struct varset **buckets;
    size_t n_buckets, count; /* n_buckets: a power of two */
};

static struct varset **bucket_of(const struct varset_table *t, const struct varset *v)
{
    return &t->buckets[v->hash & (t->n_buckets - 1)];
}

struct varset_table *varset_table_create(void)
{
    struct varset_table *t = xmalloc(sizeof *t);
    *t = (struct varset_table){.n_buckets = FIRST_BUCKETS};
    t->buckets = xcalloc(t->n_buckets, sizeof(struct varset *));
    return t;
}

void varset_table_destroy(struct varset_table **table)
{
    struct varset_table *t = *table;
    *table = NULL;
    if (!t)
        return;
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct varset *v = t->buckets[i]; v; v = v->next)
            v->table = NULL;
    free(t->buckets);
    free(t);
}

static void table_add(struct varset_table *t, struct varset *v)
{
    struct varset **bucket = bucket_of(t, v);
    v->next = *bucket;
    *bucket = v;
}

static void table_remove(struct varset_table *t, struct varset *v)
{
    struct varset **at = bucket_of(t, v);
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    t->count--;
}

static void table_grow(struct varset_table *t)
{
    struct varset_table old = *t;
    t->n_buckets = old.n_buckets * 2;
    t->buckets = xcalloc(t->n_buckets, sizeof(struct varset *));
    for (size_t i = 0; i < old.n_buckets; i++)
        for (struct varset *v = old.buckets[i], *next; v; v = next) {
            next = v->next;
            table_add(t, v);
        }
    free(old.buckets);
}

struct varset *varset_share(struct varset_table *t, struct varset *v)
{
    if (!v || v->table == t)
        return v;
    assert(!v->table);
    for (struct varset *same = *bucket_of(t, v); same; same = same->next)
        if (varset_equal(same, v)) {
            varset_unref(&v);
            return varset_ref(same);
        }
    if (t->count == t->n_buckets)
        table_grow(t);
    v->table = t;
    table_add(t, v);
    t->count++;
    return v;
}

/* --- sets ------------------------------------------------------------------------------------- */

struct varset *varset_empty(void)
{
    return build(NULL, 0);
}

struct varset *varset_ref(struct varset *v)
{
    if (v)
        v->refs++;
    return v;
}

void varset_unref(struct varset **v)
{
    struct varset *set = *v;
    *v = NULL;
    if (!set)
        return;
    assert(set->refs > 0);
    if (--set->refs > 0)
        return;
    if (set->table)
        table_remove(set->table, set);
    free(set);
}

bool varset_equal(const struct varset *a, const struct varset *b)
{
    if (a == b)
        return true;
    size_t n = count_of(a);
    if (n != count_of(b))
        return false;
    if (n == 0)
        return true;
    if (a->hash != b->hash)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(a->vars[i].name, b->vars[i].name) != 0 || strcmp(a->vars[i].value, b->vars[i].value) != 0)
            return false;
    }
    return true;
}

/* Where name is, or would be. */
static size_t position(const struct varset *v, const char *name, bool *found_r)
{
    size_t low = 0, high = count_of(v);
    *found_r = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int cmp = strcmp(v->vars[mid].name, name);
        if (cmp == 0) {
            *found_r = true;
            return mid;
        }
        if (cmp < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const char *varset_get(const struct varset *v, const char *name)
{
    bool found;
    size_t i = position(v, name, &found);
    return found ? v->vars[i].value : NULL;
}

struct varset *varset_with(const struct varset *v, const char *name, const char *value)
{
    bool found;
    size_t at = position(v, name, &found), n = count_of(v);
    struct var *vars = xmalloc((n + 1) * sizeof(struct var));
    size_t out = 0;
    for (size_t i = 0; i < at; i++)
        vars[out++] = v->vars[i];
    if (value)
        vars[out++] = (struct var){.name = name, .value = value};
    for (size_t i = at + (found ? 1 : 0); i < n; i++)
        vars[out++] = v->vars[i];
    struct varset *made = build(vars, out);
    free(vars);
    return made;
}

struct varset *varset_copy(const struct varset *v)
{
    return build(v ? v->vars : NULL, count_of(v));
}

/* --- differences as SQL ----------------------------------------------------------------------- */

/* A custom name has a dot and its parts may be reserved words: quoted whole, it names the same variable. */
static void append_name(struct buf *sql, const char *name)
{
    bool plain = (*name >= 'a' && *name <= 'z') || *name == '_';
    for (const char *c = name; *c && plain; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_';
    if (plain) {
        buf_str(sql, name);
        return;
    }
    buf_u8(sql, '"');
    for (const char *c = name; *c; c++) {
        if (*c == '"')
            buf_u8(sql, '"');
        buf_u8(sql, (uint8_t)*c);
    }
    buf_u8(sql, '"');
}

static void append_set(struct buf *sql, const char *name, const char *value)
{
    buf_str(sql, "SET ");
    append_name(sql, name);
    buf_str(sql, " TO ");
    buf_str(sql, value);
    buf_u8(sql, ';');
}

static void append_reset(struct buf *sql, const char *name)
{
    buf_str(sql, "RESET ");
    append_name(sql, name);
    buf_u8(sql, ';');
}

static bool is_identity(const char *name)
{
    return strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0;
}

static bool same_value(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* One merge over both sorted arrays, of everything that is not an identity. sql NULL: only tells whether
   anything differs. */
static bool merge_plain(const struct varset *from, const struct varset *to, struct buf *sql)
{
    size_t i = 0, j = 0;
    bool differs = false;
    while (i < count_of(from) || j < count_of(to)) {
        int cmp = i == count_of(from) ? 1
                  : j == count_of(to) ? -1
                                      : strcmp(from->vars[i].name, to->vars[j].name);
        const struct var *old = cmp <= 0 ? &from->vars[i++] : NULL;
        const struct var *new = cmp >= 0 ? &to->vars[j++] : NULL;
        if (is_identity(old ? old->name : new->name) || (old && new &&strcmp(old->value, new->value) == 0))
            continue;
        differs = true;
        if (sql && new)
            append_set(sql, new->name, new->value);
        else if (sql)
            append_reset(sql, old->name);
    }
    return differs;
}

void varset_diff_sql(const struct varset *from, const struct varset *to, struct buf *sql)
{
    if (varset_equal(from, to))
        return;
    const char *old_role = varset_get(from, "role"), *new_role = varset_get(to, "role");
    const char *old_user = varset_get(from, "session_authorization");
    const char *new_user = varset_get(to, "session_authorization");
    bool plain = merge_plain(from, to, NULL);

    /* Changing session_authorization drops the role (SET SESSION AUTHORIZATION implies SET ROLE NONE), so
       then the role is to be set again even if it is the same. */
    bool user_moves = (plain && (old_user || new_user)) || !same_value(old_user, new_user);
    bool role_moves = (plain && (old_role || new_role)) || user_moves || !same_value(old_role, new_role);
    if (role_moves && old_role)
        append_reset(sql, "role");
    if (user_moves && old_user)
        append_reset(sql, "session_authorization");
    if (plain)
        merge_plain(from, to, sql);
    if (user_moves && new_user)
        append_set(sql, "session_authorization", new_user);
    if (role_moves && new_role)
        append_set(sql, "role", new_role);
}
