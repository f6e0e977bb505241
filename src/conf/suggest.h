/* Private to conf: "did you mean". */
#ifndef PGUNISON_CONF_SUGGEST_H
#define PGUNISON_CONF_SUGGEST_H

#include <stddef.h>

struct suggest {
    const char *word, *best;
    size_t distance;
};

/* Offer candidates one by one; best stays NULL while none is close enough to be a slip of the same word. */
void suggest_init(struct suggest *s, const char *word);
void suggest_offer(struct suggest *s, const char *candidate);
/* "; did you mean \"x\"?", or "" without a suggestion. Returns buf. */
const char *suggest_text(const struct suggest *s, char *buf, size_t size);

#define SUGGEST_TEXT_MAX 160

#endif
