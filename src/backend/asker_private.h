/* What the files of the asker share. Private to backend. */
#ifndef PGUNISON_BACKEND_ASKER_PRIVATE_H
#define PGUNISON_BACKEND_ASKER_PRIVATE_H

#include "backend/asker.h"
#include "backend/server.h"

enum line_state { LINE_CLOSED, LINE_OPENING, LINE_SETUP, LINE_IDLE, LINE_RUNNING, LINE_TIDYING };

struct request {
    struct list_node node; /* in the line's queue, unless it runs */
    struct line *line;
    char *sql;
    struct loop_timer *timer;
    uint64_t timeout_us;
    void (*done)(void *arg, const struct rows *r); /* NULL: forgotten */
    void *arg;
};

struct line { /* to one shard */
    struct asker *asker;
    char *shard;
    enum line_state state;
    struct dial *dial;
    struct server *server;
    const struct config *opened_under; /* compared only, never followed */
    struct loop_timer *idle_timer;
    struct deferred work;
    struct list queue;
    struct request *running;
    struct rows_sink *sink; /* of the message under way */
};

struct asker {
    struct loop *loop;
    struct config *config;
    struct cancels *cancels;
    struct hashmap lines; /* by the shard's name */
};

/* asker_line.c */
void line_init(struct line *l);
void line_free(struct line *l, const struct error *why); /* all is lost */
/* What runs is lost; what waits asks for another connection. */
void line_close(struct line *l, const struct error *why);

/* asker.c: r is in no list any more, and dies. */
void request_answer(struct request *r, const struct rows *rows);
void request_answer_lost(struct request *r, const struct error *why);

#endif
