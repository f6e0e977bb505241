/*
 * Reading a command: words and quoted texts, looked up among the SHOWs and the orders.
 *
 * Not responsible for: running it, or whether the database or transaction it names exists.
 */
#include "command.h"

#include "orders.h"
#include "shows.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* Settings of a PostgreSQL that drivers look at, or set, on every connection they open. */
static const struct {
    const char *name, *value;
} parameters[] = {
    {"application_name", ""},
    {"client_encoding", "UTF8"},
    {"datestyle", "ISO, MDY"},
    {"default_transaction_isolation", "read committed"},
    {"extra_float_digits", "1"},
    {"server_version", PGUNISON_VERSION "/pgunison"},
    {"standard_conforming_strings", "on"},
    {"timezone", "GMT"},
};

struct scanner {
    const uint8_t *p, *end;
};

/* WORD: of letters, digits, _ . - $; TEXT: was quoted. */
enum token { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_SIGN, TOKEN_BAD };

static bool is_word_byte(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '.' || c == '-' || c == '$' || c >= 0x80;
}

static enum token scan_quoted(struct scanner *s, char *text, size_t size)
{
    uint8_t quote = *s->p++;
    size_t n = 0;
    for (; s->p < s->end; s->p++) {
        if (*s->p == quote && (s->p + 1 == s->end || s->p[1] != quote)) {
            s->p++;
            text[n] = '\0';
            return TOKEN_TEXT;
        }
        if (*s->p == quote)
            s->p++;
        if (n + 1 == size)
            return TOKEN_BAD;
        text[n++] = (char)*s->p;
    }
    return TOKEN_BAD;
}

static enum token scan(struct scanner *s, char *text, size_t size)
{
    while (s->p < s->end && isspace(*s->p))
        s->p++;
    text[0] = '\0';
    if (s->p == s->end)
        return TOKEN_END;
    if (*s->p == '"' || *s->p == '\'')
        return scan_quoted(s, text, size);
    if (!is_word_byte(*s->p)) {
        text[0] = (char)*s->p++;
        text[1] = '\0';
        return TOKEN_SIGN;
    }
    size_t n = 0;
    for (; s->p < s->end && is_word_byte(*s->p); s->p++) {
        if (n + 1 == size)
            return TOKEN_BAD;
        text[n++] = (char)*s->p;
    }
    text[n] = '\0';
    return TOKEN_WORD;
}

static enum status invalid(struct slice sql, struct error *error_r)
{
    int shown = sql.len > 80 ? 80 : (int)sql.len;
    (void)error_set(error_r, SQLSTATE_SYNTAX_ERROR, "invalid command \"%.*s\"", shown,
                    sql.len ? (const char *)sql.data : "");
    error_hint(error_r, "SHOW HELP lists the commands.");
    return STATUS_ERROR;
}

/* Nothing, or one semicolon. */
static bool at_end(struct scanner *s)
{
    char text[4];
    enum token t = scan(s, text, sizeof text);
    if (t == TOKEN_SIGN && text[0] == ';')
        t = scan(s, text, sizeof text);
    return t == TOKEN_END;
}

/* SET name = value, SET name TO value, with SESSION or LOCAL before it. */
static bool parse_set(struct scanner *s, struct command *c)
{
    char sign[8];
    enum token t = scan(s, c->arg, sizeof c->arg);
    if (t == TOKEN_WORD && (strcasecmp(c->arg, "session") == 0 || strcasecmp(c->arg, "local") == 0))
        t = scan(s, c->arg, sizeof c->arg);
    if (t != TOKEN_WORD && t != TOKEN_TEXT)
        return false;
    t = scan(s, sign, sizeof sign);
    if (!(t == TOKEN_SIGN && sign[0] == '=') && !(t == TOKEN_WORD && strcasecmp(sign, "to") == 0))
        return false;
    t = scan(s, c->value, sizeof c->value);
    c->kind = CMD_SET;
    return t == TOKEN_WORD || t == TOKEN_TEXT;
}

static bool parse_arg(struct scanner *s, enum arg_rule rule, struct command *c)
{
    struct scanner before = *s;
    enum token t = scan(s, c->arg, sizeof c->arg);
    if (t == TOKEN_WORD || t == TOKEN_TEXT)
        return rule != ARG_NONE;
    *s = before;
    c->arg[0] = '\0';
    return (t == TOKEN_END || t == TOKEN_SIGN) && rule != ARG_REQUIRED;
}

static bool parse_show(struct scanner *s, struct command *c)
{
    char word[64];
    enum token t = scan(s, word, sizeof word);
    if (t != TOKEN_WORD && t != TOKEN_TEXT)
        return false;
    c->show = show_find(word);
    if (c->show) {
        bool ok = parse_arg(s, c->show->usage ? ARG_REQUIRED : ARG_NONE, c);
        c->kind = c->show->place == SHOW_NOT_YET ? CMD_NOT_YET : CMD_SHOW;
        if (c->kind == CMD_NOT_YET)
            snprintf(c->arg, sizeof c->arg, "SHOW %s", c->show->name);
        return ok;
    }
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if (strcasecmp(parameters[i].name, word) == 0) {
            c->kind = CMD_PARAMETER;
            snprintf(c->arg, sizeof c->arg, "%s", parameters[i].name);
            snprintf(c->value, sizeof c->value, "%s", parameters[i].value);
            return true;
        }
    return false;
}

/* Whether the argument is one of those that there are; in lower case from here on. */
static bool choose(struct command *c, const char *const *choices)
{
    for (char *p = c->arg; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    for (; *choices; choices++)
        if (strcmp(*choices, c->arg) == 0)
            return true;
    return !c->arg[0];
}

static bool parse_command(struct scanner *s, const char *word, struct command *c)
{
    if (strcasecmp(word, "show") == 0)
        return parse_show(s, c);
    if (strcasecmp(word, "set") == 0)
        return parse_set(s, c);
    c->order = order_find(word);
    if (!c->order || !parse_arg(s, c->order->rule, c))
        return false;
    c->kind = c->order->run ? CMD_ORDER : CMD_NOT_YET;
    if (c->kind == CMD_NOT_YET)
        snprintf(c->arg, sizeof c->arg, "%s", c->order->name);
    return c->kind == CMD_NOT_YET || !c->order->choices || choose(c, c->order->choices);
}

enum status command_parse(struct slice sql, struct command *c, struct error *error_r)
{
    struct scanner s = {.p = sql.data, .end = sql.data + sql.len};
    char word[64];
    *c = (struct command){.kind = CMD_EMPTY};
    enum token t = scan(&s, word, sizeof word);
    if (t == TOKEN_END)
        return STATUS_OK;
    if (t == TOKEN_SIGN && word[0] == ';')
        return at_end(&s) ? STATUS_OK : invalid(sql, error_r);
    if (t != TOKEN_WORD || !parse_command(&s, word, c) || !at_end(&s))
        return invalid(sql, error_r);
    return STATUS_OK;
}
