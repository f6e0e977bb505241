/*
 * What the lexer (template.c) shares with the layer's other files: character classes, and the skipping of
 * white space, comments, strings and quoted identifiers. All functions take [p, end) and never read at or
 * past end.
 */
#ifndef PGUNISON_SQL_LEX_H
#define PGUNISON_SQL_LEX_H

#include "sql/template.h"

/* PGUNISON_PORTABLE: as on a machine without SSE2. */
#if defined(__SSE2__) && !defined(PGUNISON_PORTABLE)
#define LEX_SSE2 1
#include <emmintrin.h>
#endif
/* PGUNISON_SSE2: as on a machine without AVX2. */
#if defined(LEX_SSE2) && defined(__x86_64__) && !defined(PGUNISON_SSE2)
#define LEX_AVX2 1
#endif

/* Up to CLASS_DOLLAR: may continue an identifier. */
enum char_class {
    CLASS_IDENT, /* letters, underscore, every byte over 0x7f: may begin an identifier */
    CLASS_DIGIT,
    CLASS_DOLLAR,
    CLASS_SPACE,
    CLASS_COPY, /* operators and punctuation that mean nothing to the lexer */
    CLASS_DOT,
    CLASS_COMMENT, /* - and /: a comment may begin */
    CLASS_QUOTE,
    CLASS_DQUOTE,
    CLASS_OPEN,
    CLASS_CLOSE,
    CLASS_SEMICOLON,
    CLASS_CONTROL /* never in a statement; masks are made of them */
};
extern const uint8_t lex_class[256];

static inline bool lex_continues_identifier(uint8_t c)
{
    return lex_class[c] <= CLASS_DOLLAR;
}

/* NULL: not there. Most strings are short, so the first 64 bytes are looked at without a call. */
static inline const uint8_t *lex_find(const uint8_t *p, const uint8_t *end, uint8_t c)
{
#ifdef LEX_SSE2
    const __m128i wanted = _mm_set1_epi8((char)c);
    for (int i = 0; i < 4 && end - p >= 16; i++, p += 16) {
        int hits =
            _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), wanted));
        if (hits)
            return p + __builtin_ctz((unsigned)hits);
    }
#endif
    return p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
}

/* What is known of a comment once it was skipped: where its inside lies. */
struct lex_comment {
    const uint8_t *from, *to;
};

/* If a comment begins at p: its end, else p. NULL: it has no end. A -- comment ends before its newline. */
const uint8_t *lex_skip_comment(const uint8_t *p, const uint8_t *end, struct lex_comment *comment_r);
/* White space and comments. NULL: a comment has no end; *start_r (if given) is where it begins. The first
   comment that begins with "pgunison:" goes to *hint_r (if given) unless that is set already. */
const uint8_t *lex_skip_blank(const uint8_t *p, const uint8_t *end, struct slice *hint_r,
                              const uint8_t **start_r);
/* p is behind the closing quote of a string: behind the opening quote of its continuation, or NULL if there
 * is none. */
const uint8_t *lex_continuation(const uint8_t *p, const uint8_t *end);
/* p is behind the opening quote: behind the closing one, or NULL. */
const uint8_t *lex_skip_identifier(const uint8_t *p, const uint8_t *end);
/* Is the word [p, p + len) this one (which is in lower case)? */
bool lex_word_is(const uint8_t *p, size_t len, const char *word);

struct lex_end {
    size_t next; /* offset of what follows the semicolon; sql.len: no statement does */
    bool guess;  /* BEGIN ATOMIC was seen: only the parser knows for sure where the statement ends */
};
/* What is to be known of a whole text before any of it is lexed; looks at each byte of it. */
enum status lex_check(struct slice sql, struct error *error_r) MUST_CHECK;
/* template_lex() without asking the parser, of a text that has passed lex_check(). Reads the first statement and what is
   blank behind it, and no further, so that a text of many statements is read once. whole: sql is one statement, its semicolons are inside of it. */
enum status lex_statement(struct template *t, struct slice sql, bool whole, struct lex_end *end_r,
                          struct error *error_r) MUST_CHECK;

/* Length of the first statement as the parser sees it, without its semicolon; 0: it cannot parse the text. */
size_t sql_first_statement(struct slice sql);

#endif
