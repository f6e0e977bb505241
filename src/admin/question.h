/*
 * A question of the console, or an order to it, under way. Private to admin.
 *
 *     home worker --> each worker in turn --> home worker        (question_round)
 *     home worker --> control thread      --> home worker        (question_on_control, question_return)
 *
 * A question is a message between threads. The thread that has the message owns everything in the question but `asker`
 * and `node`, which belong to the home worker at all times. That is why nothing here needs a lock, and why a client
 * may go away while its question is on another thread.
 */
#ifndef PGUNISON_ADMIN_QUESTION_H
#define PGUNISON_ADMIN_QUESTION_H

#include "admin/console.h"
#include "answer.h"
#include "command.h"
#include "stats.h"

struct question {
    struct mail mail;
    struct admin *admin;
    unsigned home;
    struct list_node node; /* of home's questions */
    void *asker;           /* NULL: it has gone */
    void (*answered)(void *asker, struct slice answer);
    bool by_admin; /* one of admin_users asks */
    struct command command;
    struct answer answer;
    void (*visit)(struct question *q, struct session_env *env);
    void (*next)(struct question *q); /* question_round: at home afterwards; question_on_control: there */
    unsigned at;
    void *data; /* of whoever answers; freed with the question */
    void (*free_data)(void *data);
};

struct home { /* one worker's side of the console */
    struct console_ops ops;
    struct admin *admin;
    unsigned worker;
    struct list questions;
};

struct admin {
    struct console_worker *workers;
    struct home *homes;
    unsigned n;
    struct session_shared *shared;
    struct mailbox *control;
    const struct console_process *process;
    struct stats *stats; /* control thread */
    atomic_bool closed;
};

/* answered() is called at home, once, if the asker is still there; then the question is freed. */
struct question *question_create(struct home *home, const struct renderer *renderer,
                                 void (*answered)(void *asker, struct slice answer), void *asker);
void question_asker_gone(struct home *home, const void *asker); /* its questions go on without it */
void questions_free(struct home *home);                         /* when no thread runs any more */

/* By the thread that has the question: visit() on every worker's thread in turn, then next() at home. */
void question_round(struct question *q, void (*visit)(struct question *q, struct session_env *env),
                    void (*next)(struct question *q));
/* run() on the control thread, which then or later calls question_return(). */
void question_on_control(struct question *q, void (*run)(struct question *q));
void question_answer(struct question *q); /* at home: the end of the question */
void question_return(struct question *q); /* elsewhere: the same, through the home worker */
/* Puts the error in place of the answer. question_answer() or question_return() follows. */
void question_fail(struct question *q, const struct error *e);
/* The zeroed data of whoever answers, made at the first call. */
void *question_data(struct question *q, size_t size, void (*free_data)(void *data));

static inline struct session_env *question_env(const struct question *q) /* at home */
{
    return q->admin->workers[q->home].env;
}
static inline const struct console_process *question_process(const struct question *q)
{
    return q->admin->process;
}

#endif
