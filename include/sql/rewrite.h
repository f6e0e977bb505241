/*
 * Text edits on a template, so that a cached plan can render the statement for the shards from any statement
 * of the same template: spans of template text are replaced, literals come from the statement at hand. A span
 * may cover literals (those are then pinned by the plan). Edits are in ascending order and do not overlap.
 */
#ifndef PGUNISON_SQL_REWRITE_H
#define PGUNISON_SQL_REWRITE_H

#include "base/arena.h"
#include "sql/template.h"

struct rewrite_edit {
    uint32_t at, len;    /* in the template's text */
    struct slice insert; /* in the plan's arena */
};
struct rewrite {
    struct rewrite_edit *edits;
    size_t n_edits;
};

/* Where the pieces of a text go, in order: parts of the template, of the edits and of the statement. */
struct text_sink {
    void (*add)(void *arg, struct slice piece);
    void *arg;
};

/* Offset in template text of a byte offset in the statement, which may not lie inside a comment. REWRITE_NOWHERE: it lies
   inside a literal, or behind the end. Offsets are the parser's, the template is the lexer's: should they ever read a text
   in two ways, the plan must not be made (rewrite_fits()). */
#define REWRITE_NOWHERE UINT32_MAX
uint32_t rewrite_template_offset(const struct template *t, uint32_t statement_offset);
/* The same for many offsets, which ascend: each goes on from the one before. Begin with {.t = template}. */
struct rewrite_cursor {
    const struct template *t;
    uint32_t at, template_at; /* the offset before, in the statement and in the template */
};
uint32_t rewrite_cursor_offset(struct rewrite_cursor *c, uint32_t statement_offset);
/* Whether this can be done: spans lie within the text, in order, and cut no mask. To be asked when a plan is made; what
   follows relies on it. */
bool rewrite_fits(const struct rewrite *r, const struct template *t);
bool rewrite_span_fits(const struct template *t, uint32_t from, uint32_t to);
/* The edited statement, piece by piece: long literals are not copied. */
void rewrite_pieces(const struct rewrite *r, const struct template *t, const struct text_sink *sink);
void rewrite_span_pieces(const struct template *t, uint32_t from, uint32_t to, const struct text_sink *sink);
/* Appends template text [from, to) with its literals put back. */
void rewrite_render_span(const struct template *t, uint32_t from, uint32_t to, struct buf *out);

#endif
