/*
 * Guard rails (DESIGN "Guard rails"): questions to each shard at start and RELOAD, and every CHECK_PERIOD_US
 * from then on, so that a shard that was down is looked at when it is back, and a setting that was changed is
 * noticed.
 *
 *     IDLE --due--> SETTINGS --several shards share a database, two_phase_commit--> TABLE --missing--> SCHEMA
 *       ^              |                                                              |                  |
 *       '--------------+--------------------------------------------------------------+------------------'
 *
 * Findings are logged when they change, not every time. A shard that is down or unfit does not stop the
 * proxy: what cannot be done there fails with the shard's own error, and what can be done goes on.
 *
 * Not responsible for: transactions in doubt (resolver.c), clients' connections.
 */
#include "check.h"

#include "base/arena.h"
#include "base/log.h"
#include "txn/decision.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_TIMEOUT_US ((uint64_t)10 * 1000 * 1000)
#define CHECK_PERIOD_US  ((uint64_t)10 * 1000 * 1000)
#define RETRY_PERIOD_US  ((uint64_t)2 * 1000 * 1000)
#define OLDEST_VERSION   130000

enum check_step { STEP_IDLE, STEP_SETTINGS, STEP_TABLE, STEP_SCHEMA };
enum {
    COL_VERSION_NUM,
    COL_VERSION,
    COL_MAX_PREPARED,
    COL_STRINGS,
    COL_ENCODING,
    COL_COLLATE,
    COL_CTYPE,
    COL_RECOVERY,
    N_COLS
};

static const char settings_sql[] =
    "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_version'),"
    " pg_catalog.current_setting('max_prepared_transactions'), "
    "pg_catalog.current_setting('standard_conforming_strings'),"
    " pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, pg_catalog.pg_is_in_recovery()"
    " FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

struct shard_check {
    struct checks *checks;
    const struct shard_def *def;
    enum check_step step;
    bool two_phase;     /* takes part in cross-shard commits */
    bool none_prepared; /* max_prepared_transactions is 0 */
    uint64_t due_us, asked_us;
    char encoding[32], collate[64], ctype[64]; /* "" while unknown */
    struct check_report report;
};

struct checks {
    struct loop *loop;
    struct config *config;
    struct asker *control;
    struct shard_check *shards;
    size_t n;
    struct loop_timer *timer;
    void (*known)(void *arg); /* once, when every shard has been looked at; then NULL */
    void *known_arg;
    char *mismatch; /* what was last logged about databases whose shards differ; NULL: nothing */
};

const char *check_state_name(enum check_state state)
{
    switch (state) {
    case CHECK_UNKNOWN:
        return "unchecked";
    case CHECK_DOWN:
        return "down";
    case CHECK_UNFIT:
        return "unfit";
    case CHECK_UP:
        return "up";
    }
    return "?";
}

/* --- what was found --------------------------------------------------------------------------- */

static void schedule(struct checks *c)
{
    uint64_t now = loop_now_us(c->loop), next = UINT64_MAX;
    for (size_t i = 0; i < c->n; i++)
        if (c->shards[i].step == STEP_IDLE && c->shards[i].due_us < next)
            next = c->shards[i].due_us;
    if (next != UINT64_MAX)
        loop_timer_start(c->timer, next > now ? next - now : 0);
}

/* Encodings and collations must be equal over a database's shards: else rows merge in an order that no shard
 * has. */
static void compare_shards(struct checks *c)
{
    struct buf text;
    buf_init(&text);
    for (size_t d = 0; d < c->config->topology.n_databases; d++) {
        const struct database_def *db = &c->config->topology.databases[d];
        const struct shard_check *first = NULL;
        for (unsigned i = 0; i < db->n_shards; i++) {
            const struct shard_check *s = &c->shards[db->shards[i]->id];
            if (!s->encoding[0])
                continue;
            if (!first)
                first = s;
            if (strcmp(first->encoding, s->encoding) != 0 || strcmp(first->collate, s->collate) != 0 ||
                strcmp(first->ctype, s->ctype) != 0) {
                buf_printf(&text,
                           "shards of database \"%s\" differ: \"%s\" has encoding %s, collation %s, "
                           "character type %s; \"%s\" has %s, "
                           "%s, %s: results that are merged from both may be wrong",
                           db->name, first->def->name, first->encoding, first->collate, first->ctype,
                           s->def->name, s->encoding, s->collate, s->ctype);
                break;
            }
        }
    }
    buf_u8(&text, 0);
    const char *now = (const char *)buf_head(&text);
    if (*now && (!c->mismatch || strcmp(c->mismatch, now) != 0))
        log_error("%s", now);
    free(c->mismatch);
    c->mismatch = *now ? xstrdup(now) : NULL;
    buf_free(&text);
}

static void tell_known(struct checks *c)
{
    void (*known)(void *) = c->known;
    for (size_t i = 0; i < c->n; i++)
        if (c->shards[i].report.state == CHECK_UNKNOWN)
            return;
    c->known = NULL;
    if (known)
        known(c->known_arg);
}

void checks_when_known(struct checks *c, void (*known)(void *arg), void *arg)
{
    c->known = known;
    c->known_arg = arg;
    if (known && c->n == 0)
        tell_known(c);
}

static void found(struct shard_check *s, enum check_state state, const char *note)
{
    struct check_report *r = &s->report;
    if (r->state != state || strcmp(r->note, note) != 0) {
        if (state == CHECK_UP)
            log_info("shard \"%s\" is up, PostgreSQL %s", s->def->name, r->version);
        else if (state == CHECK_DOWN)
            log_warning("shard \"%s\" is down: %s", s->def->name, note);
        else
            log_error("shard \"%s\" is not fit: %s", s->def->name, note);
    }
    r->state = state;
    snprintf(r->note, sizeof r->note, "%s", note);
    s->step = STEP_IDLE;
    s->due_us = loop_now_us(s->checks->loop) + (state == CHECK_DOWN ? RETRY_PERIOD_US : CHECK_PERIOD_US);
    compare_shards(s->checks);
    schedule(s->checks);
    tell_known(s->checks);
}

/* --- questions and answers -------------------------------------------------------------------- */

static void ask(struct shard_check *s, enum check_step step, const char *sql);

static void settings_answer(struct shard_check *s, const struct rows *r)
{
    char note[256];
    if (!r->ok) {
        found(s, CHECK_DOWN, r->error ? r->error->message : "no answer");
        return;
    }
    bool whole = r->n_rows == 1 && r->n_columns == N_COLS;
    for (size_t i = 0; whole && i < N_COLS; i++)
        whole = rows_text(r, 0, i) != NULL;
    if (!whole) {
        found(s, CHECK_UNFIT, "it did not answer as PostgreSQL does");
        return;
    }
    const char *const *row = rows_texts(r)[0];
    s->report.latency_us = loop_now_us(s->checks->loop) - s->asked_us;
    snprintf(s->report.version, sizeof s->report.version, "%.*s", (int)strcspn(row[COL_VERSION], " "),
             row[COL_VERSION]);
    snprintf(s->encoding, sizeof s->encoding, "%s", row[COL_ENCODING]);
    snprintf(s->collate, sizeof s->collate, "%s", row[COL_COLLATE]);
    snprintf(s->ctype, sizeof s->ctype, "%s", row[COL_CTYPE]);
    s->none_prepared = s->two_phase && strcmp(row[COL_MAX_PREPARED], "0") == 0;
    if (atoi(row[COL_VERSION_NUM]) < OLDEST_VERSION) {
        snprintf(note, sizeof note, "PostgreSQL %s is too old: 13 or later is needed", s->report.version);
        found(s, CHECK_UNFIT, note);
    } else if (strcmp(row[COL_STRINGS], "on") != 0) {
        found(s, CHECK_UNFIT,
              "set standard_conforming_strings = on there: statements cannot be read safely without it");
    } else if (s->two_phase && strcmp(row[COL_RECOVERY], "t") == 0) {
        found(s, CHECK_UNFIT, "it is a standby: nothing can be written there");
    } else if (s->two_phase) {
        ask(s, STEP_TABLE, decision_check_sql);
    } else {
        found(s, CHECK_UP, "");
    }
}

static bool is_true(const struct rows *r, size_t column)
{
    const char *value = r->n_rows == 1 && column < r->n_columns ? rows_text(r, 0, column) : NULL;
    return value && strcmp(value, "t") == 0;
}

/* lock_timeout: it takes the table from those who commit, and must not make them queue behind it. */
#define SCHEMA_PREFIX "SET LOCAL lock_timeout = '2s'; "

static void make_table(struct shard_check *s)
{
    char sql[8192];
    int n = snprintf(sql, sizeof sql, SCHEMA_PREFIX "%s", decision_schema_sql);
    assert(n > 0 && (size_t)n < sizeof sql);
    ask(s, STEP_SCHEMA, sql);
}

static void table_answer(struct shard_check *s, const struct rows *r)
{
    if (!r->ok)
        found(s, CHECK_DOWN, r->error ? r->error->message : "no answer");
    else if (!is_true(r, DECISION_TRUSTED))
        found(s, CHECK_UNFIT,
              "schema pgunison or its table decision belongs to somebody else there, who could forge "
              "decisions: "
              "nothing is decided or resolved by it. Let a superuser or the control role own both (ALTER … "
              "OWNER TO), "
              "after a look at who made them");
    else if (!is_true(r, DECISION_THERE) || !is_true(r, DECISION_CURRENT) || !is_true(r, DECISION_OPEN))
        make_table(s);
    else if (!is_true(r, DECISION_OWNED))
        found(s, CHECK_UNFIT,
              "the control role is neither a superuser nor the owner of pgunison.decision there: it can "
              "resolve "
              "nothing; set admin_user");
    else if (!is_true(r, DECISION_SUPER))
        found(s, CHECK_UNFIT,
              "the control role is no superuser there: transactions that other roles prepared cannot be "
              "finished by it; set admin_user");
    else if (s->none_prepared) /* it can still decide: its table is there */
        found(s, CHECK_UNFIT,
              "max_prepared_transactions is 0: commits over several shards will fail; set it to "
              "max_connections (or more) in its postgresql.conf and restart it");
    else
        found(s, CHECK_UP, "");
}

static void schema_answer(struct shard_check *s, const struct rows *r)
{
    char note[256];
    if (r->ok) {
        log_info("shard \"%s\": made the decision table, or brought it up to date", s->def->name);
        ask(s, STEP_TABLE, decision_check_sql);
        return;
    }
    if (r->lost) {
        found(s, CHECK_DOWN, r->error ? r->error->message : "no answer");
        return;
    }
    snprintf(
        note, sizeof note,
        "the decision table is missing, of an earlier version or not for all roles, and could not be made or "
        "changed (%.100s)",
        r->error ? r->error->message : "no answer");
    if (strcmp(s->report.note, note) != 0)
        log_error("shard \"%s\": run this in its database \"%s\" as a superuser: %s", s->def->name,
                  s->def->dbname, decision_schema_sql);
    found(s, CHECK_UNFIT, note);
}

static void answered(void *arg, const struct rows *r)
{
    struct shard_check *s = arg;
    switch (s->step) {
    case STEP_SETTINGS:
        settings_answer(s, r);
        break;
    case STEP_TABLE:
        table_answer(s, r);
        break;
    case STEP_SCHEMA:
        schema_answer(s, r);
        break;
    case STEP_IDLE:
        break;
    }
}

static void ask(struct shard_check *s, enum check_step step, const char *sql)
{
    s->step = step;
    s->asked_us = loop_now_us(s->checks->loop);
    asker_query(s->checks->control, s->def, sql, QUERY_TIMEOUT_US, answered, s);
}

static void look(void *arg)
{
    struct checks *c = arg;
    uint64_t now = loop_now_us(c->loop);
    for (size_t i = 0; i < c->n; i++)
        if (c->shards[i].step == STEP_IDLE && c->shards[i].due_us <= now)
            ask(&c->shards[i], STEP_SETTINGS, settings_sql);
    schedule(c);
}

/* --- life ------------------------------------------------------------------------------------- */

static void begin(struct checks *c, struct config *config)
{
    const struct topology *t = &config->topology;
    c->config = config_ref(config);
    c->n = t->n_shards;
    c->shards = xcalloc(c->n + 1, sizeof *c->shards);
    for (size_t i = 0; i < c->n; i++)
        c->shards[i] = (struct shard_check){.checks = c, .def = &t->shards[i]};
    for (size_t d = 0; d < t->n_databases && config->settings.two_phase_commit; d++)
        for (unsigned i = 0; i < t->databases[d].n_shards && t->databases[d].n_shards > 1; i++)
            c->shards[t->databases[d].shards[i]->id].two_phase = true;
    loop_timer_start(c->timer, 0);
}

static void leave(struct checks *c)
{
    for (size_t i = 0; i < c->n; i++)
        asker_forget(c->control, &c->shards[i]);
    free(c->shards);
    config_unref(&c->config);
}

struct checks *checks_create(struct loop *loop, struct config *config, struct asker *control)
{
    struct checks *c = xcalloc(1, sizeof *c);
    c->loop = loop;
    c->control = control;
    c->timer = loop_timer_create(loop, look, c);
    begin(c, config);
    return c;
}

void checks_reconfigure(struct checks *c, struct config *config)
{
    leave(c);
    begin(c, config);
}

void checks_destroy(struct checks **cc)
{
    struct checks *c = *cc;
    if (!c)
        return;
    *cc = NULL;
    leave(c);
    loop_timer_destroy(&c->timer);
    free(c->mismatch);
    free(c);
}

const struct check_report *checks_shard(const struct checks *c, unsigned shard)
{
    return shard < c->n ? &c->shards[shard].report : NULL;
}
