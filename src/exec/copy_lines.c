/*
 * Where the lines of COPY's text and CSV formats end. Bytes go in once, in chunks of any size; the scanner
 * keeps its place, so nothing is looked at twice and nothing is held back.
 *
 * The server's rules, of which some are odd and all are kept:
 *     the first line's end fixes what all lines end in; another kind, unescaped or unquoted, is an error
 *     text: a backslash takes away the meaning of any byte after it, except that \. is the end of the copy
 *     CSV: line ends within quotes are data; an escape counts only within quotes, not as the second of two;
 *          \. is the end only where it is a line of its own, else data
 *
 * The server looks ahead; the scanner cannot, so that what may be the beginning of a longer token is a state:
 *
 *     PLAIN -> CR -> (NL: ended) (other: ended before it, where lines end in CR)
 *     text: PLAIN -> BACKSLASH -> PLAIN | MARK -> (MARK_CR ->) done
 *     CSV:  PLAIN -> CSV_MARK -> CSV_MARK_DOT -> (CSV_MARK_DOT_CR ->) done
 *           or, from each of these, PLAIN, with what was held back
 *
 * Stricter than the server in three cases: data before \. on its line is an error (as in PostgreSQL 18), not
 * a row; so is a last line that could not be given an end: \. in CSV, and one that ends within quotes.
 *
 * Not responsible for: fields, limits.
 */
#include "copy_private.h"

void line_scanner_init(struct line_scanner *l, const struct copy_spec *spec, bool csv_end_marker,
                       uint64_t *line)
{
    *l = (struct line_scanner){.csv = spec->format == COPY_CSV, .line = line};
    l->end_marker = !l->csv || csv_end_marker;
    l->special['\r'] = l->special['\n'] = true;
    if (l->csv) {
        l->quote = spec->quote;
        l->escape = spec->escape;
        l->has_escape = spec->escape != spec->quote;
        l->special[l->quote] = l->special[l->escape] = true;
    } else {
        l->special['\\'] = true;
    }
}

static enum line_event fail(struct error *error_r, const char *message)
{
    error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "%s", message);
    return LINE_FAILED;
}

static enum line_event stray_cr(const struct line_scanner *l, struct error *error_r)
{
    error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "%s carriage return found in data",
              l->csv ? "unquoted" : "literal");
    error_hint(error_r, l->csv ? "Use quoted CSV field to represent carriage return."
                               : "Use \"\\r\" to represent carriage return.");
    return LINE_FAILED;
}

static enum line_event stray_nl(const struct line_scanner *l, struct error *error_r)
{
    error_set(error_r, SQLSTATE_BAD_COPY_FORMAT, "%s newline found in data", l->csv ? "unquoted" : "literal");
    error_hint(error_r,
               l->csv ? "Use quoted CSV field to represent newline." : "Use \"\\n\" to represent newline.");
    return LINE_FAILED;
}

static enum line_event wrong_style(struct error *error_r)
{
    return fail(error_r, "end-of-copy marker does not match previous newline style");
}

static enum line_event corrupt(struct error *error_r)
{
    return fail(error_r, "end-of-copy marker corrupt");
}

/* A byte that ends the line unless it is quoted; c is one of the two. */
static enum line_event end_of_line(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    if (c == '\n') {
        if (l->eol == EOL_CR || l->eol == EOL_CRNL)
            return stray_nl(l, error_r);
        l->eol = EOL_NL;
        return LINE_ENDED;
    }
    if (l->eol == EOL_NL)
        return stray_cr(l, error_r);
    if (l->eol == EOL_CR)
        return LINE_ENDED;
    l->state = LINE_CR;
    return LINE_MORE;
}

static enum line_event text_byte(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    if (c == '\\')
        l->state = LINE_BACKSLASH;
    else if (c == '\r' || c == '\n')
        return end_of_line(l, c, error_r);
    return LINE_MORE;
}

static enum line_event csv_byte(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    bool is_escape = l->has_escape && c == l->escape;
    if (l->in_quote && is_escape)
        l->last_was_escape = !l->last_was_escape;
    if (c == l->quote && !l->last_was_escape)
        l->in_quote = !l->in_quote;
    if (!is_escape)
        l->last_was_escape = false;
    if (c != '\r' && c != '\n')
        return LINE_MORE;
    if (!l->in_quote)
        return end_of_line(l, c, error_r);
    if (c == (l->eol == EOL_NL ? '\n' : '\r'))
        ++*l->line;
    return LINE_MORE;
}

static enum line_event plain_byte(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    return l->csv ? csv_byte(l, c, error_r) : text_byte(l, c, error_r);
}

/* Text, after \. ; the marker must be followed by the end of line that the lines before had. */
static enum line_event after_mark(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    if (l->eol == EOL_CRNL && l->state == LINE_MARK) {
        if (c == '\n')
            return wrong_style(error_r);
        if (c != '\r')
            return corrupt(error_r);
        l->state = LINE_MARK_CR;
        return LINE_MORE;
    }
    if (c != '\r' && c != '\n')
        return corrupt(error_r);
    if (l->eol != EOL_UNKNOWN && c != (l->eol == EOL_CR ? '\r' : '\n'))
        return wrong_style(error_r);
    return LINE_DONE;
}

/* It was no marker: what was held back is data. A carriage return among it is looked at together with c. */
static enum line_event csv_no_mark(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    bool had_cr = l->state == LINE_CSV_MARK_DOT_CR;
    l->state = LINE_PLAIN;
    enum line_event event = csv_byte(l, '.', error_r);
    if (had_cr && event == LINE_MORE)
        event = csv_byte(l, '\r', error_r);
    if (event != LINE_MORE)
        return event;
    return l->state == LINE_CR ? stray_cr(l, error_r) : csv_byte(l, c, error_r);
}

static enum line_event csv_mark(struct line_scanner *l, uint8_t c, struct error *error_r)
{
    if (l->state == LINE_CSV_MARK) {
        if (c == '.') {
            l->state = LINE_CSV_MARK_DOT;
            return LINE_MORE;
        }
        l->state = LINE_PLAIN;
        return csv_byte(l, c, error_r);
    }
    if (l->eol == EOL_CRNL && l->state == LINE_CSV_MARK_DOT && c == '\r') {
        l->state = LINE_CSV_MARK_DOT_CR;
        return LINE_MORE;
    }
    bool line_must_end = l->eol != EOL_CRNL || l->state == LINE_CSV_MARK_DOT_CR;
    if (!line_must_end || (c != '\r' && c != '\n'))
        return csv_no_mark(l, c, error_r);
    if (l->eol != EOL_UNKNOWN && c != (l->eol == EOL_CR ? '\r' : '\n'))
        return wrong_style(error_r);
    return LINE_DONE;
}

/* One byte. *keep_r: it is not part of this line, but the first of the next. */
static enum line_event scan_byte(struct line_scanner *l, uint8_t c, bool *keep_r, struct error *error_r)
{
    switch (l->state) {
    case LINE_PLAIN:
        if (l->csv && l->end_marker && c == '\\' && l->bytes == 0) {
            enum line_event event = csv_byte(l, c, error_r);
            l->state = LINE_CSV_MARK;
            return event;
        }
        return plain_byte(l, c, error_r);
    case LINE_BACKSLASH:
        l->state = LINE_PLAIN;
        if (c != '.')
            return LINE_MORE;
        if (l->bytes != 1)
            return fail(error_r, "end-of-copy marker is not alone on its line");
        l->state = LINE_MARK;
        return LINE_MORE;
    case LINE_CR:
        if (c == '\n') {
            l->eol = EOL_CRNL;
            return LINE_ENDED;
        }
        if (l->eol == EOL_CRNL)
            return stray_cr(l, error_r);
        l->eol = EOL_CR;
        *keep_r = true;
        return LINE_ENDED;
    case LINE_MARK:
    case LINE_MARK_CR:
        return after_mark(l, c, error_r);
    case LINE_CSV_MARK:
    case LINE_CSV_MARK_DOT:
    case LINE_CSV_MARK_DOT_CR:
        return csv_mark(l, c, error_r);
    }
    return fail(error_r, "unknown state");
}

static void next_line(struct line_scanner *l)
{
    l->state = LINE_PLAIN;
    l->bytes = 0;
    l->in_quote = l->last_was_escape = false;
}

/* Bytes from i on that mean nothing to the scanner. */
static size_t ordinary(const struct line_scanner *l, struct slice bytes, size_t i)
{
    size_t from = i;
    while (i < bytes.len && !l->special[bytes.data[i]])
        i++;
    return i - from;
}

enum line_event line_scan(struct line_scanner *l, struct slice bytes, size_t *consumed_r,
                          struct error *error_r)
{
    size_t i = 0;
    while (i < bytes.len) {
        if (l->state == LINE_PLAIN && (l->bytes > 0 || bytes.data[i] != '\\')) {
            size_t n = ordinary(l, bytes, i);
            if (n) {
                l->last_was_escape = false;
                l->bytes += n;
                i += n;
                continue;
            }
        }
        bool keep = false;
        enum line_event event = scan_byte(l, bytes.data[i], &keep, error_r);
        if (!keep) {
            i++;
            l->bytes++;
        }
        if (event == LINE_MORE)
            continue;
        *consumed_r = i;
        if (event == LINE_ENDED)
            next_line(l);
        return event;
    }
    *consumed_r = i;
    return LINE_MORE;
}

enum line_event line_scan_end(struct line_scanner *l, bool *eol_missing_r, struct error *error_r)
{
    *eol_missing_r = true;
    if (l->in_quote) /* an end of line could not be added */
        return fail(error_r, "unterminated CSV quoted field");
    switch (l->state) {
    case LINE_PLAIN:
    case LINE_BACKSLASH:
    case LINE_CSV_MARK:
        break;
    case LINE_CR:
        if (l->eol == EOL_CRNL)
            return stray_cr(l, error_r);
        l->eol = EOL_CR;
        *eol_missing_r = false;
        break;
    case LINE_MARK:
    case LINE_MARK_CR:
        return corrupt(error_r);
    case LINE_CSV_MARK_DOT: /* the server takes it as data, but with an end of line it would be the marker */
        return corrupt(error_r);
    case LINE_CSV_MARK_DOT_CR:
        return stray_cr(l, error_r);
    }
    return LINE_ENDED;
}

size_t line_eol_bytes(const struct line_scanner *l)
{
    return l->eol == EOL_UNKNOWN ? 0 : l->eol == EOL_CRNL ? 2 : 1;
}
