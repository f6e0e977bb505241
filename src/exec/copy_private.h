/*
 * What the parts of exec/copy_split.h share: copy_split.c collects rows, copy_lines.c finds where lines end,
 * copy_fields.c reads a line's fields, copy_binary.c walks through the binary format. Private to src/exec.
 */
#ifndef PGUNISON_SRC_EXEC_COPY_PRIVATE_H
#define PGUNISON_SRC_EXEC_COPY_PRIVATE_H

#include "exec/copy_split.h"

enum copy_eol { EOL_UNKNOWN, EOL_NL, EOL_CR, EOL_CRNL };

/* Where the scanner is within a line. MARK states: the bytes of a possible end-of-copy marker that were seen.
 */
enum line_state {
    LINE_PLAIN,
    LINE_BACKSLASH,      /* text: after an unescaped backslash */
    LINE_CR,             /* after a carriage return that may be the first half of the end of line */
    LINE_MARK,           /* text: \.     */
    LINE_MARK_CR,        /* text: \. CR, where lines end in CR NL */
    LINE_CSV_MARK,       /* CSV, at the beginning of the line: \      */
    LINE_CSV_MARK_DOT,   /* \.     */
    LINE_CSV_MARK_DOT_CR /* \. CR, where lines end in CR NL */
};

struct line_scanner {
    bool csv, end_marker; /* end_marker: \. is one (always in text) */
    uint8_t quote, escape;
    bool has_escape;   /* an escape character other than the quote */
    bool special[256]; /* bytes that the scanner must look at */
    enum copy_eol eol;
    /* of the line at hand: */
    enum line_state state;
    uint64_t bytes; /* consumed of it */
    bool in_quote, last_was_escape;
    uint64_t *line; /* counts line ends within quotes */
};

enum line_event {
    LINE_MORE,  /* the line goes on behind these bytes */
    LINE_ENDED, /* it ends with the last byte consumed, end of line included */
    LINE_DONE,  /* the end-of-copy marker, alone on its line */
    LINE_FAILED
};
void line_scanner_init(struct line_scanner *l, const struct copy_spec *spec, bool csv_end_marker,
                       uint64_t *line);
enum line_event line_scan(struct line_scanner *l, struct slice bytes, size_t *consumed_r,
                          struct error *error_r) MUST_CHECK;
/* The input ended within a line. LINE_ENDED: the line is complete as it stands; *eol_missing_r: it has no end
 * of line. */
enum line_event line_scan_end(struct line_scanner *l, bool *eol_missing_r, struct error *error_r) MUST_CHECK;
size_t line_eol_bytes(const struct line_scanner *l); /* length of what ends a line; 0: not known yet */

/* content: a line without its end. key_r may point into it or into scratch. Checks the number of fields. */
enum status copy_line_key(const struct copy_spec *spec, struct slice content, struct buf *scratch,
                          struct slice *key_r, struct error *error_r) MUST_CHECK;

/* Binary: where in the file, and in the tuple, the walk is. */
enum tuple_state { TUPLE_SIGNATURE, TUPLE_EXTENSION, TUPLE_COUNT, TUPLE_FIELD, TUPLE_VALUE, TUPLE_TRAILER };
struct tuple_walker {
    enum tuple_state state;
    size_t at;   /* bytes walked since the header or the tuple began */
    size_t need; /* bytes of the next step */
    int field, n_fields;
    size_t key_at, key_len;
    bool key_null;
};
enum tuple_event {
    TUPLE_MORE,   /* w->at + w->need bytes must be there to go on */
    TUPLE_HEADER, /* the file's header is the first w->at bytes */
    TUPLE_ROW,    /* the row is the first w->at bytes */
    TUPLE_END,    /* the trailer */
    TUPLE_FAILED
};
void tuple_walker_init(struct tuple_walker *w);
/* bytes: from where the header or the tuple began. */
enum tuple_event tuple_walk(struct tuple_walker *w, const struct copy_spec *spec, struct slice bytes,
                            struct error *error_r) MUST_CHECK;
void tuple_next(struct tuple_walker *w); /* after TUPLE_HEADER or TUPLE_ROW */

#endif
