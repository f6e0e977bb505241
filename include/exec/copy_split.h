/*
 * COPY ... FROM STDIN, cut into rows while it streams: the payloads of the client's CopyData go in, however
 * they were chunked; each whole row comes out with the value of its key. The grammar is the server's own
 * (src/backend/commands/copyfromparse.c), so that the shards read the same rows as they were cut here. Pure.
 *
 * The header line of text and CSV, and the header and trailer of the binary format, go to every shard: each
 * must read a complete file. Rows end as the client's rows do; a last row without an end of line gets one.
 *
 * Bytes, not characters: client encodings whose characters may contain ASCII bytes (SJIS, BIG5, GBK, UHC,
 * GB18030, JOHAB) are the caller's to refuse. So is comparing a key of character type whose encoding is not
 * the shards'.
 */
#ifndef PGUNISON_EXEC_COPY_SPLIT_H
#define PGUNISON_EXEC_COPY_SPLIT_H

#include "base/buf.h"
#include "route/plan.h"

struct copy_row {
    struct slice bytes; /* for the shard, with its end of line; valid during the call */
    struct slice key; /* data NULL: SQL NULL, or the whole row goes everywhere (spec->replicate); valid during
                         the call */
    int16_t key_format; /* 0 text, 1 binary */
    uint64_t line;      /* as the server counts: rows, and line ends within quotes */
};
struct copy_sink {
    enum status (*row)(void *arg, const struct copy_row *row, struct error *error_r);
    void (*every_shard)(void *arg, struct slice bytes);
    void *arg;
};
struct copy_split_options {
    const struct copy_spec *spec; /* outlives the split. Zero delimiter, quote, escape and NULL null_string:
                                     the format's default */
    size_t max_row_bytes;
    bool csv_end_marker; /* a line \. ends CSV: so do servers before 18, and the same must hold for all shards
                          */
    struct copy_sink sink;
};

struct copy_split;
struct copy_split *copy_split_create(const struct copy_split_options *o);
void copy_split_destroy(struct copy_split **s);

/* Errors: 22P04 as the server words them, 54000 for a row longer than max_row_bytes, and the sink's own.
   DETAIL gets the line. After an error, and after the end, the split is dead: all
   that comes is 08P01. Bytes after the end-of-copy marker are ignored, as
   the server does. */
enum status copy_split_feed(struct copy_split *s, struct slice payload, struct error *error_r) MUST_CHECK;
/* CopyDone: the last row, if it had no end of line, and the trailer. */
enum status copy_split_finish(struct copy_split *s, struct error *error_r) MUST_CHECK;
size_t copy_split_memory(const struct copy_split *s); /* of the row under way */

#endif
