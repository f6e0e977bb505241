/*
 * The process as a whole, from the main thread's point of view, which is the control thread. Private to app.
 */
#ifndef PGUNISON_APP_PROXY_H
#define PGUNISON_APP_PROXY_H

#include "admin/console.h"
#include "app/options.h"
#include "check.h"
#include "net/dns.h"
#include "refuse.h"
#include "resolver.h"
#include "worker.h"

#define MAX_LISTENERS 17
#define N_SIGNALS     6

/*
 *  RUNNING   -> DRAINING    TERM, SHUTDOWN WAIT_FOR_CLIENTS   [proxy_drain]
 *  RUNNING   -> FINISHING   INT, SHUTDOWN WAIT_FOR_SERVERS    [proxy_finish]
 *  any       -> STOPPING    QUIT, SHUTDOWN; a second TERM or INT; nothing is under way any more; out of time
 * [proxy_stop]
 *
 *  DRAINING: no new connections; idle clients are closed with 57P01; what runs may end, for shutdown_wait_timeout.
 *  FINISHING: no new connections, no new transactions (as PAUSE); ends when no client holds a server.
 *  STOPPING: the control loop ends, and with it everything.
 */
enum proxy_state { PROXY_RUNNING, PROXY_DRAINING, PROXY_FINISHING, PROXY_STOPPING };

/* A round over the workers that counts servers in use (of one database; NULL: of all). */
struct census {
    struct mail mail;
    struct proxy *proxy;
    const char *database;
    void (*counted)(struct census *c); /* on the control thread */
    unsigned at, active;
    bool under_way;
};

struct proxy {
    const struct options *options;
    struct config *config;
    enum proxy_state state;
    uint64_t drain_by_us; /* DRAINING: 0: no limit */
    struct loop *loop;
    struct dns *dns; /* of the whole process, on the control loop */
    struct mailbox *mailbox;
    struct session_shared shared;
    struct pool_limits *limits;
    struct workers workers;
    struct asker *control;
    struct resolver *resolver;
    struct checks *checks;
    struct admin *admin;
    struct console_process process;
    struct listener *listeners[MAX_LISTENERS];
    unsigned n_listeners;
    struct acceptors *acceptors; /* accept.c: one for each worker */
    struct refuser *refuser;
    struct loop_signal *signals[N_SIGNALS];
    struct census census;    /* DRAINING, FINISHING */
    struct list pauses;      /* struct pause: PAUSEs that are not yet answered */
    struct loop_timer *look; /* for the next census */
    uint64_t full_logged_us;
};

/* proxy.c: made, run, taken apart. The error is one line for stderr. */
enum status proxy_create(struct proxy *p, const struct options *options, struct config *config,
                         struct error *error_r) MUST_CHECK;
void proxy_run(struct proxy *p);
void proxy_destroy(struct proxy *p);

/* accept.c */
/* Before workers are started. As root, if the process was started so: ports below 1024. */
enum status proxy_listen_tcp(struct proxy *p, struct error *error_r) MUST_CHECK;
enum status proxy_listen_unix(struct proxy *p,
                              struct error *error_r) MUST_CHECK; /* as the user that it runs as */
void proxy_accept(struct proxy *p);                              /* lets in whoever waits, and comes */
void proxy_unlisten(struct proxy *p);                            /* at once, and for good */

/* lifecycle.c */
void proxy_watch_signals(struct proxy *p);
void proxy_drain(struct proxy *p);
void proxy_finish(struct proxy *p);
void proxy_stop(struct proxy *p);
void proxy_look(void *arg); /* timer */

/* pause.c. done: NULL, or called when nobody holds a server (of the database) any more, or RESUME came */
bool proxy_pause(struct proxy *p, const char *database, void (*done)(void *arg), void *arg,
                 struct error *error_r);
bool proxy_resume(struct proxy *p, const char *database, struct error *error_r);
void pauses_look(struct proxy *p);
void pauses_drop(struct proxy *p); /* without an answer, at the end */
void census_start(struct census *c, struct proxy *p);
void census_again(struct proxy *p); /* proxy_look() in a moment */

/* reload.c */
enum status proxy_set(struct proxy *p, const char *name, const char *value, struct error *error_r);
enum status proxy_reload(struct proxy *p, struct error *error_r);
void log_configure(const struct options *o,
                   const struct settings *s); /* level, stderr, syslog, logfile (opened anew) */
/* One context for each of n workers (NULLs when TLS is not offered). */
enum status tls_contexts_create(const struct settings *s, struct tls_context **contexts_r, unsigned n,
                                struct error *error_r) MUST_CHECK;

/* console_port.c */
void proxy_console_init(struct proxy *p);

#endif
