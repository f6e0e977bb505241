/*
 * [buckets DATABASE]: which of its buckets each shard has. Every bucket from 0 to buckets - 1 is named
 * exactly once; a shard may have several lines, or none.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "topology_build.h"
#include <ctype.h>
#include <stdlib.h>

#define NUMBER_MAX 65536 /* no bucket number reaches this */

/* Of one [buckets] section: the line that gave each bucket to its shard; 0: none so far. */
struct bucket_owners {
    struct topology_build *b;
    struct database_def *db;
    int *lines;
    bool bad;
};

static void owners_error(struct bucket_owners *o, int line, const char *what, const char *text)
{
    load_error(o->b->l, line, "%s \"%s\"; allowed are bucket numbers like 0-255, 300", what, text);
    o->bad = true;
}

/* Gives first .. last to a shard; every run that already has an owner is one error. */
static void give(struct bucket_owners *o, int64_t first, int64_t last, unsigned shard, int line)
{
    struct database_def *db = o->db;
    for (int64_t i = first; i <= last;) {
        int owner_line = o->lines[i];
        if (owner_line == 0) {
            o->lines[i] = line;
            db->bucket_shard[i++] = (uint8_t)shard;
            continue;
        }
        int64_t end = i;
        unsigned owner = db->bucket_shard[i];
        while (end <= last && o->lines[end] == owner_line && db->bucket_shard[end] == owner)
            end++;
        if (end - i == 1)
            load_error(o->b->l, line,
                       "bucket %lld of database \"%s\" is given to %s here and to %s in line %d",
                       (long long)i, db->name, db->shards[shard]->name, db->shards[owner]->name, owner_line);
        else
            load_error(o->b->l, line,
                       "buckets %lld-%lld of database \"%s\" are given to %s here and to %s in line %d",
                       (long long)i, (long long)(end - 1), db->name, db->shards[shard]->name,
                       db->shards[owner]->name, owner_line);
        i = end;
    }
}

static bool bucket_number(const char **p, int64_t *r)
{
    int64_t v = 0;
    const char *s = *p;
    for (; isdigit((unsigned char)*s); s++)
        v = v > NUMBER_MAX ? v : v * 10 + (*s - '0'); /* stays too large once it is */
    bool any = s > *p;
    *p = s;
    *r = v;
    return any;
}

/* "0-255, 300 302" */
static void bucket_entry(struct bucket_owners *o, const struct ini_entry *e)
{
    int shard = build_shard_index(o->b, o->db, e->name, e->line);
    if (shard < 0) {
        o->bad = true;
        return;
    }
    const char *p = e->value + strspn(e->value, ", \t");
    if (!*p)
        owners_error(o, e->line, "no buckets in", e->value);
    while (*p) {
        int64_t first, last;
        if (!bucket_number(&p, &first)) {
            owners_error(o, e->line, "cannot read", p);
            return;
        }
        last = first;
        p += strspn(p, " \t");
        if (*p == '-') {
            p++;
            p += strspn(p, " \t");
            if (!bucket_number(&p, &last)) {
                owners_error(o, e->line, "no bucket number after \"-\" in", e->value);
                return;
            }
        }
        if (*p && !strchr(", \t", *p) && !isdigit((unsigned char)*p)) {
            owners_error(o, e->line, "cannot read", p);
            return;
        }
        if (last < first || last >= (int64_t)o->db->buckets) {
            load_error(o->b->l, e->line, "buckets \"%s\" of shard %s: database \"%s\" has the buckets 0-%u",
                       e->value, e->name, o->db->name, o->db->buckets - 1);
            o->bad = true;
            return;
        }
        give(o, first, last, (unsigned)shard, e->line);
        p += strspn(p, ", \t");
    }
}

/* All runs nobody owns, in one error. */
static void gaps(struct bucket_owners *o, int line)
{
    struct buf text;
    buf_init(&text);
    unsigned runs = 0;
    for (uint32_t i = 0; i < o->db->buckets; i++) {
        if (o->lines[i])
            continue;
        uint32_t end = i;
        while (end + 1 < o->db->buckets && !o->lines[end + 1])
            end++;
        runs++;
        if (runs <= 8)
            buf_printf(&text, "%s%u", runs > 1 ? ", " : "", i);
        if (runs <= 8 && end > i)
            buf_printf(&text, "-%u", end);
        if (runs == 9)
            buf_str(&text, ", …");
        i = end;
    }
    if (runs)
        load_error(o->b->l, line, "buckets %.*s of database \"%s\" are given to no shard",
                   (int)buf_len(&text), (const char *)buf_head(&text), o->db->name);
    buf_free(&text);
}

void buckets_load(struct topology_build *b)
{
    for (size_t i = 0; i < b->n_refs; i++) {
        const struct section_ref *ref = &b->refs[i];
        if (ref->kind != SECTION_BUCKETS)
            continue;
        struct database_def *db = build_database(b, ref);
        if (!db || b->databases[db->index].shards_bad || b->databases[db->index].buckets_bad)
            continue;
        struct bucket_owners o = {.b = b, .db = db, .lines = xcalloc(db->buckets, sizeof(int))};
        for (size_t j = 0; j < ref->section->n_entries; j++)
            bucket_entry(&o, &ref->section->entries[j]);
        if (!o.bad)
            gaps(&o, ref->section->line);
        free(o.lines);
    }
}
