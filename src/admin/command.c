/*
 * Reading a command: words and quoted texts, looked up in two tables.
 *
 * Not responsible for: running it, or whether the database or transaction it names exists.
 */
#include "command.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

enum arg_rule { ARG_NONE, ARG_OPTIONAL, ARG_REQUIRED };

struct entry {
    const char *name;
    enum command_kind kind;
    enum arg_rule rule;
};

static const struct entry shows[] = {
    {"active_sockets", CMD_NOT_YET, ARG_NONE},
    {"buckets", CMD_SHOW_BUCKETS, ARG_NONE},
    {"clients", CMD_SHOW_CLIENTS, ARG_NONE},
    {"config", CMD_SHOW_CONFIG, ARG_NONE},
    {"databases", CMD_SHOW_DATABASES, ARG_NONE},
    {"deadlocks", CMD_NOT_YET, ARG_NONE},
    {"dns_hosts", CMD_NOT_YET, ARG_NONE},
    {"dns_zones", CMD_NOT_YET, ARG_NONE},
    {"fds", CMD_NOT_YET, ARG_NONE},
    {"help", CMD_SHOW_HELP, ARG_NONE},
    {"lists", CMD_SHOW_LISTS, ARG_NONE},
    {"mem", CMD_SHOW_MEM, ARG_NONE},
    {"peer_pools", CMD_NOT_YET, ARG_NONE},
    {"peers", CMD_NOT_YET, ARG_NONE},
    {"pools", CMD_SHOW_POOLS, ARG_NONE},
    {"servers", CMD_SHOW_SERVERS, ARG_NONE},
    {"shards", CMD_SHOW_SHARDS, ARG_NONE},
    {"sockets", CMD_NOT_YET, ARG_NONE},
    {"state", CMD_SHOW_STATE, ARG_NONE},
    {"stats", CMD_SHOW_STATS, ARG_NONE},
    {"stats_averages", CMD_SHOW_STATS_AVERAGES, ARG_NONE},
    {"stats_totals", CMD_SHOW_STATS_TOTALS, ARG_NONE},
    {"tables", CMD_SHOW_TABLES, ARG_NONE},
    {"totals", CMD_NOT_YET, ARG_NONE},
    {"transaction", CMD_SHOW_TRANSACTION, ARG_REQUIRED},
    {"transactions", CMD_SHOW_TRANSACTIONS, ARG_NONE},
    {"two_phase", CMD_SHOW_TWO_PHASE, ARG_NONE},
    {"unresolved", CMD_SHOW_UNRESOLVED, ARG_NONE},
    {"users", CMD_SHOW_USERS, ARG_NONE},
    {"version", CMD_SHOW_VERSION, ARG_NONE},
};

static const struct entry commands[] = {
    {"disable", CMD_DISABLE, ARG_REQUIRED}, {"enable", CMD_ENABLE, ARG_REQUIRED},
    {"kill", CMD_KILL, ARG_OPTIONAL},       {"kill_client", CMD_NOT_YET, ARG_REQUIRED},
    {"pause", CMD_PAUSE, ARG_OPTIONAL},     {"reconnect", CMD_RECONNECT, ARG_OPTIONAL},
    {"reload", CMD_RELOAD, ARG_NONE},       {"resolve", CMD_RESOLVE, ARG_OPTIONAL},
    {"resume", CMD_RESUME, ARG_OPTIONAL},   {"shutdown", CMD_SHUTDOWN, ARG_OPTIONAL},
    {"suspend", CMD_NOT_YET, ARG_NONE},     {"wait_close", CMD_NOT_YET, ARG_OPTIONAL},
};

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

static const struct entry *find(const struct entry *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
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

static bool parse_args(struct scanner *s, const struct entry *e, struct command *c)
{
    struct scanner before = *s;
    enum token t = scan(s, c->arg, sizeof c->arg);
    c->kind = e->kind;
    if (t == TOKEN_WORD || t == TOKEN_TEXT)
        return e->rule != ARG_NONE;
    *s = before;
    c->arg[0] = '\0';
    return (t == TOKEN_END || t == TOKEN_SIGN) && e->rule != ARG_REQUIRED;
}

static bool parse_show(struct scanner *s, struct command *c)
{
    char word[64];
    enum token t = scan(s, word, sizeof word);
    if (t != TOKEN_WORD && t != TOKEN_TEXT)
        return false;
    const struct entry *e = find(shows, sizeof shows / sizeof shows[0], word);
    if (e) {
        bool ok = parse_args(s, e, c);
        if (e->kind == CMD_NOT_YET)
            snprintf(c->arg, sizeof c->arg, "SHOW %s", e->name);
        return ok;
    }
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if (strcasecmp(parameters[i].name, word) == 0) {
            c->kind = CMD_SHOW_PARAMETER;
            snprintf(c->arg, sizeof c->arg, "%s", parameters[i].name);
            snprintf(c->value, sizeof c->value, "%s", parameters[i].value);
            return true;
        }
    return false;
}

static bool parse_shutdown(struct command *c)
{
    for (char *p = c->arg; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return !c->arg[0] || strcmp(c->arg, "wait_for_servers") == 0 || strcmp(c->arg, "wait_for_clients") == 0;
}

static bool parse_command(struct scanner *s, const char *word, struct command *c)
{
    const struct entry *e = find(commands, sizeof commands / sizeof commands[0], word);
    if (strcasecmp(word, "show") == 0)
        return parse_show(s, c);
    if (strcasecmp(word, "set") == 0)
        return parse_set(s, c);
    if (!e || !parse_args(s, e, c))
        return false;
    if (e->kind == CMD_NOT_YET)
        snprintf(c->arg, sizeof c->arg, "%s", e->name);
    return e->kind != CMD_SHUTDOWN || parse_shutdown(c);
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

bool command_needs_admin(enum command_kind kind)
{
    switch (kind) {
    case CMD_DISABLE:
    case CMD_ENABLE:
    case CMD_KILL:
    case CMD_PAUSE:
    case CMD_RECONNECT:
    case CMD_RELOAD:
    case CMD_RESOLVE:
    case CMD_RESUME:
    case CMD_SHUTDOWN:
        return true;
    case CMD_EMPTY:
    case CMD_SHOW_BUCKETS:
    case CMD_SHOW_CLIENTS:
    case CMD_SHOW_CONFIG:
    case CMD_SHOW_DATABASES:
    case CMD_SHOW_HELP:
    case CMD_SHOW_LISTS:
    case CMD_SHOW_MEM:
    case CMD_SHOW_POOLS:
    case CMD_SHOW_SERVERS:
    case CMD_SHOW_SHARDS:
    case CMD_SHOW_STATE:
    case CMD_SHOW_STATS:
    case CMD_SHOW_STATS_AVERAGES:
    case CMD_SHOW_STATS_TOTALS:
    case CMD_SHOW_TABLES:
    case CMD_SHOW_TRANSACTION:
    case CMD_SHOW_TRANSACTIONS:
    case CMD_SHOW_TWO_PHASE:
    case CMD_SHOW_UNRESOLVED:
    case CMD_SHOW_USERS:
    case CMD_SHOW_VERSION:
    case CMD_SHOW_PARAMETER:
    case CMD_SET:     /* drivers' parameters are everybody's; else act.c asks */
    case CMD_NOT_YET: /* an error for everybody */
        return false;
    }
    return true;
}
