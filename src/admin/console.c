/*
 * The console as sessions see it: one text, one question. Reads the text, checks rights, begins what it asks for.
 *
 * Not responsible for: how a question goes from thread to thread (question.c), what is known (show_*.c), what is
 * done (orders.c).
 */
#include "admin/console.h"

#include "base/arena.h"
#include "orders.h"
#include "shows.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(struct question *q, const struct error *e)
{
    question_fail(q, e);
    question_answer(q);
}

static void refuse_not_yet(struct question *q)
{
    struct error e;
    char name[sizeof q->command.arg];
    snprintf(name, sizeof name, "%s", q->command.arg);
    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    (void)error_set(&e, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s is not supported yet", name);
    fail(q, &e);
}

static void answer_parameter(struct question *q)
{
    struct answer_column column = {q->command.arg, ANSWER_TEXT};
    answer_columns(&q->answer, &column, 1);
    answer_text(&q->answer, q->command.value);
    answer_row(&q->answer);
    answer_done(&q->answer, "SHOW");
    question_answer(q);
}

static void run_order(struct question *q)
{
    struct error e;
    if (q->by_admin) {
        q->command.order->run(q);
        return;
    }
    (void)error_set(&e, "42501", "permission denied: the command is for admin_users");
    fail(q, &e);
}

static void begin(struct question *q)
{
    switch (q->command.kind) {
    case CMD_EMPTY:
        answer_done(&q->answer, NULL);
        question_answer(q);
        break;
    case CMD_SHOW:
        show_begin(q);
        break;
    case CMD_PARAMETER:
        answer_parameter(q);
        break;
    case CMD_ORDER:
        run_order(q);
        break;
    case CMD_SET:
        order_set(q);
        break;
    case CMD_NOT_YET:
        refuse_not_yet(q);
        break;
    }
}

static void answered(void *asker, struct slice answer)
{
    client_console_reply(asker, answer);
}

static void run(void *arg, struct client *c, struct slice sql)
{
    struct error e;
    struct question *q = question_create(arg, &render_console, answered, c);
    q->by_admin = client_is_admin(c);
    if (command_parse(sql, &q->command, &e) == STATUS_OK)
        begin(q);
    else
        fail(q, &e);
}

static void gone(void *arg, struct client *c)
{
    question_asker_gone(arg, c);
}

/* --- life ------------------------------------------------------------------------------------- */

struct admin *admin_create(const struct console_worker *workers, unsigned n_workers,
                           struct session_shared *shared, struct loop *control_loop,
                           struct mailbox *control_mailbox, const struct console_process *process)
{
    struct admin *a = xcalloc(1, sizeof *a);
    a->workers = xcalloc(n_workers, sizeof *a->workers);
    memcpy(a->workers, workers, n_workers * sizeof *workers);
    a->homes = xcalloc(n_workers, sizeof *a->homes);
    a->n = n_workers;
    a->shared = shared;
    a->control = control_mailbox;
    a->process = process;
    for (unsigned i = 0; i < n_workers; i++) {
        struct home *home = &a->homes[i];
        *home = (struct home){.admin = a, .worker = i, .ops = {.run = run, .gone = gone, .arg = home}};
        list_init(&home->questions);
    }
    a->stats = stats_create(control_loop, a->workers, n_workers);
    return a;
}

const struct console_ops *admin_console(struct admin *a, unsigned worker)
{
    return &a->homes[worker].ops;
}

void admin_reconfigure(struct admin *a, const struct config *config)
{
    stats_reconfigure(a->stats, config->settings.stats_period_us, config->settings.log_stats);
}

void admin_close(struct admin *a)
{
    atomic_store(&a->closed, true);
}

void admin_destroy(struct admin **aa)
{
    struct admin *a = *aa;
    if (!a)
        return;
    *aa = NULL;
    for (unsigned i = 0; i < a->n; i++)
        questions_free(&a->homes[i]);
    stats_destroy(&a->stats);
    free(a->homes);
    free(a->workers);
    free(a);
}
