/*
 * Shared bytes. A thread's blobs are in a list; there are few, as each is large, and bytes are looked for only when
 * they are many.
 */
#include "base/blob.h"

#include "base/arena.h"
#include "base/list.h"

#include <assert.h>
#include <stdlib.h>

struct blob {
    struct list_node node; /* blobs */
    unsigned refs;
    uint8_t *data;
    size_t cap;
};

static _Thread_local struct list blobs;
static _Thread_local bool known; /* blobs is */

struct blob *blob_create(struct buf *buf)
{
    buf_check(buf);
    struct blob *b = xcalloc(1, sizeof(*b));
    b->refs = 1;
    b->data = buf->data;
    b->cap = buf->cap;
    if (!known)
        list_init(&blobs);
    known = true;
    list_push_front(&blobs, &b->node);
    return b;
}

static struct blob *blob_ref(struct blob *b)
{
    if (b)
        b->refs++;
    return b;
}

void blob_unref(struct blob **bp)
{
    struct blob *b = *bp;
    *bp = NULL;
    if (!b)
        return;
    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    list_remove(&blobs, &b->node);
    free(b->data);
    free(b);
}

struct blob *blob_of(const void *data, size_t len)
{
    if (!known)
        return NULL;
    uintptr_t from = (uintptr_t)data;
    list_foreach(&blobs, node, next)
    {
        struct blob *b = list_entry(node, struct blob, node);
        uintptr_t begin = (uintptr_t)b->data;
        if (from >= begin && from - begin <= b->cap && len <= b->cap - (from - begin))
            return blob_ref(b);
    }
    return NULL;
}

size_t blob_share(const struct blob *b)
{
    return b ? (b->cap + b->refs - 1) / b->refs : 0;
}

/* --- ropes ------------------------------------------------------------------------------------ */

void rope_init(struct rope *r)
{
    *r = (struct rope){0};
}

void rope_clear(struct rope *r)
{
    for (size_t i = 0; i < r->n; i++)
        blob_unref(&r->pieces[i].blob);
    r->n = 0;
    buf_clear(&r->short_bytes);
}

void rope_free(struct rope *r)
{
    rope_clear(r);
    buf_free(&r->short_bytes);
    free(r->pieces);
    rope_init(r);
}

static void add_piece(struct rope *r, struct rope_piece piece)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 8;
        r->pieces = xrealloc(r->pieces, r->cap * sizeof(*r->pieces));
    }
    r->pieces[r->n++] = piece;
    r->cut = false;
}

void rope_add(struct rope *r, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    struct blob *blob = bytes.len >= BLOB_MIN_BYTES ? blob_of(bytes.data, bytes.len) : NULL;
    if (blob) {
        add_piece(r, (struct rope_piece){.blob = blob, .data = bytes.data, .len = bytes.len});
        return;
    }
    if (r->n == 0 || r->cut || r->pieces[r->n - 1].blob)
        add_piece(r, (struct rope_piece){.at = r->short_bytes.end});
    buf_slice_append(&r->short_bytes, bytes);
    r->pieces[r->n - 1].len += bytes.len;
}

size_t rope_cut(struct rope *r)
{
    r->cut = true;
    return r->n;
}

struct slice rope_piece(const struct rope *r, size_t i)
{
    const struct rope_piece *p = &r->pieces[i];
    return slice_of(p->blob ? p->data : r->short_bytes.data + p->at, p->len);
}

size_t rope_len(const struct rope *r, size_t from, size_t to)
{
    size_t len = 0;
    for (size_t i = from; i < to; i++)
        len += r->pieces[i].len;
    return len;
}

size_t rope_memory(const struct rope *r)
{
    size_t bytes = r->short_bytes.cap + r->cap * sizeof(*r->pieces);
    for (size_t i = 0; i < r->n; i++)
        bytes += blob_share(r->pieces[i].blob);
    return bytes;
}
