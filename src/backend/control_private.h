/* What the files of control share. Private to backend. */
#ifndef PGUNISON_BACKEND_CONTROL_PRIVATE_H
#define PGUNISON_BACKEND_CONTROL_PRIVATE_H

#include "backend/control.h"
#include <libpq-fe.h>

enum line_state { LINE_CLOSED, LINE_OPENING, LINE_SETUP, LINE_IDLE, LINE_RUNNING, LINE_TIDYING };

struct request {
    struct list_node node; /* in the line's queue, unless it runs */
    struct line *line;
    char *sql;
    struct loop_timer *timer;
    uint64_t timeout_us;
    void (*done)(void *arg, const struct control_result *r); /* NULL: forgotten */
    void *arg;
};

struct line { /* to one shard */
    struct control *control;
    char *shard;
    enum line_state state;
    struct dial *dial;
    struct backend_conn *conn;
    const struct config *opened_under; /* compared only, never followed */
    struct loop_watch *watch;
    struct loop_timer *idle_timer;
    struct deferred work;
    struct list queue;
    struct request *running;
    PGresult *rows; /* of the message under way: of the last statement that returned any */
    PGresult *last; /* last of all, or the first error */
};

struct control {
    struct loop *loop;
    struct cancels *cancels;
    struct config *config;
    struct hashmap lines; /* by the shard's name */
};

/* control_line.c */
void line_init(struct line *l);
void line_close(struct line *l,
                const struct error *why); /* what runs is lost; what waits asks for another connection */
void line_refuse_queue(struct line *l, const struct error *why);

/* control.c: r is in no list any more, and dies. */
void request_answer(struct request *r, const struct control_result *result);
void request_answer_lost(struct request *r, const struct error *why);

/* control_result.c */
void results_forget(struct line *l);
bool results_keep(struct line *l, PGresult *result); /* false: copying, which nobody here can serve */
void results_error(const PGresult *result, struct error *error_r);
void results_answer(struct line *l, struct request *r, char txn_status);

#endif
