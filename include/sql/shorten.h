/*
 * A statement whose long literals are replaced by short ones of the same kind, for planning: parsing a text of 200 MB
 * takes several times its size. Template text, number and order of literals stay the same, so everything that a plan
 * says of them holds for the statement; a plan that depends on the value of a changed literal pins it, and is not used.
 */
#ifndef PGUNISON_SQL_SHORTEN_H
#define PGUNISON_SQL_SHORTEN_H

#include "sql/template.h"

#define SHORTEN_MIN_BYTES 16384

struct shortened {
    struct template t;
    struct buf text;
    const struct template *from;
};
/* False: there is nothing to shorten, and nothing to end. */
bool shorten_begin(struct shortened *s, const struct template *t);
bool shorten_changed(const struct shortened *s, uint32_t literal);
void shorten_end(struct shortened *s);

#endif
