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
#include "base/quote.h"
#include <assert.h>
#include <stdlib.h>

static size_t count_of(const struct varset *v)
{
    return v ? v->n : 0;
}

bool varset_is_custom(const char *name)
{
    return strchr(name, '.') != NULL;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *const naming[] = {"search_path", "role", "session_authorization"};
/* Literals become values when a statement is analysed: '02/03/2024'::date by DateStyle, and so on. */
static const char *const analysing[] = {"search_path",
                                        "role",
                                        "session_authorization",
                                        "array_nulls",
                                        "backslash_quote",
                                        "client_encoding",
                                        "datestyle",
                                        "default_text_search_config",
                                        "intervalstyle",
                                        "lc_monetary",
                                        "lc_numeric",
                                        "lc_time",
                                        "row_security",
                                        "standard_conforming_strings",
                                        "timezone",
                                        "timezone_abbreviations",
                                        "transform_null_equals",
                                        "xmloption"};

enum { KIND_CUSTOM = 1, KIND_NAMING = 2, KIND_ANALYSING = 4 };

static uint32_t kind_of(const char *name)
{
    return (varset_is_custom(name) ? KIND_CUSTOM : 0) |
           (is_one_of(name, naming, sizeof naming / sizeof naming[0]) ? KIND_NAMING : 0) |
           (is_one_of(name, analysing, sizeof analysing / sizeof analysing[0]) ? KIND_ANALYSING : 0);
}

static void add_hash(uint64_t *hash, const struct var *v)
{
    *hash = *hash * 31 + hash_bytes64(v->name, v->bytes - 1);
}

/* How many of the n members, from the first on, lie side by side. */
static size_t run_of(const struct var *vars, size_t n, size_t *bytes_r)
{
    size_t i = 1;
    *bytes_r = vars[0].bytes;
    for (; i < n && vars[i].name == vars[i - 1].name + vars[i - 1].bytes; i++)
        *bytes_r += vars[i].bytes;
    return i;
}

/* The strings of all n members to `at`, which is where they point to then. A set's members lie side by side, so that
   what a change leaves as it was is copied as a whole. */
static void copy_strings(struct var *vars, size_t n, char *at)
{
    for (size_t i = 0; i < n;) {
        size_t bytes, end = i + run_of(vars + i, n - i, &bytes);
        const char *from = vars[i].name;
        assert(from);
        memcpy(at, from, bytes);
        for (; i < end; i++) {
            vars[i].value = at + (vars[i].value - from);
            vars[i].name = at + (vars[i].name - from);
        }
        at += bytes;
    }
}

/* A set of its own of n members, which are sorted; each has its value behind its name. */
static struct varset *build(const struct var *vars, size_t n)
{
    size_t bytes = 0;
    uint32_t kinds = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += vars[i].bytes;
        kinds |= vars[i].kind;
    }
    size_t head = sizeof(struct varset) + n * sizeof(struct var);
    struct varset *v = xmalloc(head + bytes);
    *v = (struct varset){.refs = 1,
                         .n = (unsigned)n,
                         .bytes = heap_bytes(head + bytes),
                         .has_names = kinds & KIND_NAMING,
                         .customs = kinds & KIND_CUSTOM};
    if (n == 0)
        return v;
    memcpy(v->vars, vars, n * sizeof(struct var));
    copy_strings(v->vars, n, (char *)v + head);
    v->hash = hash_bytes64((char *)v + head, bytes);
    for (size_t i = 0; i < n; i++)
        if (v->vars[i].kind & KIND_ANALYSING)
            add_hash(&v->parse_hash, &v->vars[i]);
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
    if (!v || v->table == t || v->unknown)
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
    if ((a && a->unknown) || (b && b->unknown))
        return false;
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

static int by_name(const void *a, const void *b)
{
    const struct var_change *x = *(const struct var_change *const *)a,
                            *y = *(const struct var_change *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : x < y ? -1 : x > y;
}

/* By name, and those of one name as they are given. */
static const struct var_change **sorted(const struct var_change *changes, size_t n)
{
    const struct var_change **order = xmalloc(n * sizeof(struct var_change *));
    for (size_t i = 0; i < n; i++)
        order[i] = &changes[i];
    qsort(order, n, sizeof(struct var_change *), by_name);
    return order;
}

static void put(struct var *vars, size_t *n, const struct varset *v, size_t from, size_t to)
{
    if (to > from && v)
        memcpy(vars + *n, v->vars + from, (to - from) * sizeof(struct var));
    *n += to - from;
}

/* A member that is in no set yet; its strings are appended to `text`, which has room for them. */
static struct var new_member(const char *name, const char *value, char **text)
{
    char *at = *text, *behind = stpcpy(at, name) + 1;
    *text = stpcpy(behind, value) + 1;
    return (struct var){.name = at, .value = behind, .bytes = (uint32_t)(*text - at), .kind = kind_of(name)};
}

/* What becomes of the name of order[*i], whose value was `value`; *i moves behind its changes. */
static const char *changed(const struct var_change **order, size_t n, size_t *i, const char *value)
{
    const char *name = order[*i]->name;
    for (; *i < n && strcmp(order[*i]->name, name) == 0; ++*i)
        if (!value || !order[*i]->if_absent)
            value = order[*i]->value;
    return value;
}

struct varset *varset_with_all(const struct varset *v, const struct var_change *changes, size_t n)
{
    size_t at = 0, out = 0, bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(changes[i].name) + (changes[i].value ? strlen(changes[i].value) : 0) + 2;
    struct var *vars = xmalloc((count_of(v) + n + 1) * sizeof(struct var));
    char *text = xmalloc(bytes + 1), *text_end = text;
    const struct var_change **order = sorted(changes, n);
    for (size_t i = 0; i < n;) {
        bool found;
        const char *name = order[i]->name;
        size_t to = position(v, name, &found);
        const char *was = found && v ? v->vars[to].value : NULL, *value = changed(order, n, &i, was);
        put(vars, &out, v, at, value == was && found ? to + 1 : to);
        if (value && value != was)
            vars[out++] = new_member(name, value, &text_end);
        at = to + found;
    }
    put(vars, &out, v, at, count_of(v));
    struct varset *made = build(vars, out);
    free(order);
    free(text);
    free(vars);
    return made;
}

struct varset *varset_with(const struct varset *v, const char *name, const char *value)
{
    return varset_with_all(v, &(struct var_change){.name = name, .value = value}, 1);
}

struct varset *varset_copy(const struct varset *v)
{
    struct varset *copy = build(v ? v->vars : NULL, count_of(v));
    copy->unknown = v && v->unknown;
    return copy;
}

/* Custom variables of `a` that `b` lacks, by a merge over both: `missing` is called with each until it says false. */
static bool each_missing_custom(const struct varset *a, const struct varset *b,
                                bool (*missing)(void *arg, const char *name), void *arg)
{
    if (!a || !a->customs || a == b)
        return true;
    for (size_t i = 0, j = 0; i < a->n; i++) {
        int cmp = -1;
        if (!(a->vars[i].kind & KIND_CUSTOM))
            continue;
        while (j < count_of(b) && (cmp = strcmp(b->vars[j].name, a->vars[i].name)) < 0)
            j++;
        if ((j == count_of(b) || cmp > 0) && !missing(arg, a->vars[i].name))
            return false;
    }
    return true;
}

struct missing_names {
    struct var_change *changes;
    size_t n;
};

static bool add_missing(void *arg, const char *name)
{
    struct missing_names *m = arg;
    if ((m->n & (m->n - 1)) == 0) /* a power of two, or none */
        m->changes = xrealloc(m->changes, (m->n ? m->n * 2 : 1) * sizeof m->changes[0]);
    m->changes[m->n++] = (struct var_change){.name = name, .value = ""};
    return true;
}

struct varset *varset_with_customs(struct varset *v, const struct varset *had)
{
    struct missing_names m = {0};
    (void)each_missing_custom(had, v, add_missing, &m);
    struct varset *with = m.n ? varset_with_all(v, m.changes, m.n) : varset_ref(v);
    free(m.changes);
    return with;
}

struct varset *varset_unknown(const struct varset *was)
{
    struct varset *customs = varset_with_customs(NULL, was);
    struct varset *v = varset_copy(customs);
    varset_unref(&customs);
    v->unknown = true;
    return v;
}

/* --- differences ------------------------------------------------------------------------------ */

static bool is_identity(const char *name)
{
    return strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0;
}

static bool same_value(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

struct changes {
    void (*change)(void *arg, const char *name, const char *value);
    void *arg;
};

static void call(const struct changes *c, const char *name, const char *value)
{
    /* A part of DateStyle alone changes that part: of what a startup packet gave, the rest is the server's own. */
    if (value && strcmp(name, "datestyle") == 0 && !strchr(value, ','))
        c->change(c->arg, name, NULL);
    c->change(c->arg, name, value);
}

/* One merge over both sorted arrays, of everything that is neither an identity nor the encoding. c NULL: only tells
   whether anything differs. */
static bool merge_plain(const struct varset *from, const struct varset *to, const struct changes *c)
{
    size_t i = 0, j = 0;
    bool differs = false;
    while (i < count_of(from) || j < count_of(to)) {
        int cmp = i == count_of(from) ? 1
                  : j == count_of(to) ? -1
                                      : strcmp(from->vars[i].name, to->vars[j].name);
        const struct var *old = cmp <= 0 ? &from->vars[i++] : NULL;
        const struct var *new = cmp >= 0 ? &to->vars[j++] : NULL;
        const char *name = old ? old->name : new->name;
        if (is_identity(name) || strcmp(name, "client_encoding") == 0 ||
            (old && new &&strcmp(old->value, new->value) == 0) || (!new && (old->kind & KIND_CUSTOM)))
            continue;
        differs = true;
        if (c)
            call(c, name, new ? new->value : NULL);
    }
    return differs;
}

static bool is_tolerated(void *arg, const char *name)
{
    return varset_get(arg, name) != NULL;
}

/* Custom variables of `from` that a session has never heard of. */
static bool has_strangers(const struct varset *from, const struct varset *to, const struct varset *tolerated)
{
    return !each_missing_custom(from, to, is_tolerated, (void *)(uintptr_t)tolerated);
}

bool varset_diff(const struct varset *from, const struct varset *to, const struct varset *tolerated,
                 void (*change)(void *arg, const char *name, const char *value), void *arg)
{
    struct changes c = {.change = change, .arg = arg};
    if (has_strangers(from, to, tolerated))
        return false;
    if (!change || varset_equal(from, to))
        return true;
    const char *old_encoding = varset_get(from, "client_encoding");
    const char *new_encoding = varset_get(to, "client_encoding");
    const char *old_role = varset_get(from, "role"), *new_role = varset_get(to, "role");
    const char *old_user = varset_get(from, "session_authorization");
    const char *new_user = varset_get(to, "session_authorization");
    bool encoding = !same_value(old_encoding, new_encoding);
    bool plain = merge_plain(from, to, NULL) || encoding;

    /* Changing session_authorization drops the role (SET SESSION AUTHORIZATION implies SET ROLE NONE), so
       then the role is to be set again even if it is the same. */
    bool user_moves = (plain && (old_user || new_user)) || !same_value(old_user, new_user);
    bool role_moves = (plain && (old_role || new_role)) || user_moves || !same_value(old_role, new_role);
    if (encoding)
        call(&c, "client_encoding", new_encoding);
    if (role_moves && old_role)
        call(&c, "role", NULL);
    if (user_moves && old_user)
        call(&c, "session_authorization", NULL);
    if (plain)
        merge_plain(from, to, &c);
    if (user_moves && new_user)
        call(&c, "session_authorization", new_user);
    if (role_moves && new_role)
        call(&c, "role", new_role);
    return true;
}

/* --- as a statement --------------------------------------------------------------------------- */

/* Whose values are lists of identifiers, which SET takes one by one (GUC_LIST_QUOTE in the server; extensions cannot
   have any). */
static const char *const lists[] = {"local_preload_libraries",   "search_path",
                                    "session_preload_libraries", "shared_preload_libraries",
                                    "temp_tablespaces",          "unix_socket_directories"};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One element of a list as SplitIdentifierString() reads it (src/backend/utils/adt/varlena.c), appended as a literal;
   NULL: it would be refused. */
static const char *list_element(const char *p, struct buf *sql)
{
    struct buf name;
    buf_init(&name);
    bool quoted = *p == '"', ok = true;
    if (quoted) {
        for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
            p += *p == '"';
            buf_u8(&name, (uint8_t)*p);
        }
        ok = *p == '"';
        p += ok;
    } else {
        for (; *p && *p != ',' && !is_blank(*p); p++)
            buf_u8(&name, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
        ok = buf_len(&name) > 0;
    }
    if (ok)
        quote_literal(sql, buf_slice(&name));
    buf_free(&name);
    return ok ? p : NULL;
}

/* False: an empty list, or none. */
static bool append_list(struct buf *sql, const char *value)
{
    for (const char *p = value;;) {
        while (is_blank(*p))
            p++;
        if (!(p = list_element(p, sql)))
            return false;
        while (is_blank(*p))
            p++;
        if (!*p)
            return true;
        if (*p++ != ',')
            return false;
        buf_str(sql, ", ");
    }
}

static void append_set_config(struct buf *sql, const char *name, const char *value, bool local)
{
    buf_str(sql, "SELECT pg_catalog.set_config(");
    quote_literal(sql, slice_str(name));
    buf_str(sql, ", ");
    quote_literal(sql, slice_str(value));
    buf_str(sql, local ? ", true)" : ", false)");
}

void varset_set_sql(struct buf *sql, const char *name, const char *value, bool local)
{
    struct buf list;
    bool is_list = value && is_one_of(name, lists, sizeof lists / sizeof lists[0]);
    buf_init(&list);
    if (is_list && !append_list(&list, value)) {
        append_set_config(sql, name, value, local);
        buf_free(&list);
        return;
    }
    buf_str(sql, local ? "SET LOCAL " : value ? "SET " : "RESET ");
    quote_identifier(sql, slice_str(name));
    if (value || local)
        buf_str(sql, " TO ");
    if (is_list)
        buf_slice_append(sql, buf_slice(&list));
    else if (value)
        quote_literal(sql, slice_str(value));
    else if (local)
        buf_str(sql, "DEFAULT");
    buf_free(&list);
}
