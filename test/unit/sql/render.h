/* Texts that are made piece by piece, as a whole. */
#ifndef PGUNISON_TEST_RENDER_H
#define PGUNISON_TEST_RENDER_H

#include "sql/rewrite.h"

static inline void render_piece(void *arg, struct slice piece)
{
    buf_slice_append(arg, piece);
}

/* Appends the edited statement. */
static inline void render(const struct rewrite *r, const struct template *t, struct buf *out)
{
    rewrite_pieces(r, t, &(struct text_sink){render_piece, out});
}

#endif
