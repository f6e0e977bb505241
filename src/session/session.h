/*
 * Private to the session layer: a client and its parts.
 *
 * The way of a message: client.c frames it; simple.c or extended.c dispatch it; plan.c finds its plan; link.c
 * gets the servers of the shards; run.c sends it and handles the answers, pipeline.c keeps their order; txn.c ends
 * transactions, with txn_port.c when two phases are needed.
 *
 * A dispatch either has handled its message (DISPATCH_DONE), or could not yet begin, has had no effect, and
 * has seen to it that client_resume() will be called (DISPATCH_AGAIN): the message stays in the input and is
 * dispatched again from its beginning.
 */
#ifndef PGUNISON_SESSION_SESSION_H
#define PGUNISON_SESSION_SESSION_H

#include "seeded_bug.h"

#include "base/arena.h"
#include "base/blob.h"
#include "exec/scatter.h"
#include "route/router.h"
#include "session/auth.h"
#include "session/client.h"
#include "session/env.h"
#include "txn/coordinator.h"
#include "wire/datum.h"
#include "wire/message.h"
#include "wire/startup.h"

#include <assert.h>

/* Bytes queued towards a peer above which whoever produces them stops being read. */
#define BACKPRESSURE_BYTES (256u * 1024)
/* The longest message that a shard takes (PQ_LARGE_MESSAGE_LIMIT, 1 GB less one byte), less what the proxy may add to
   it: a longer one would end the shard's connection. */
#define LONGEST_MESSAGE_BYTES (0x3fffffffu - 4096)
/* Input kept beyond the message at hand while a client has to wait. */
#define INPUT_AHEAD_BYTES (64u * 1024)

/*
 *  STARTUP -> TLS -> STARTUP        SSLRequest           [login_read]
 *  STARTUP -> AUTH                  startup packet       [login_read]
 *  AUTH    -> WELCOME               authenticated        [login_password]
 *  WELCOME -> READY                 parameters are known [login_welcome]
 *  any     -> CLOSING               error, Terminate, end of the connection, shutdown [client_close]
 *
 *  CLOSING: no more input is read, no output is written; waits for a two-phase commit that cannot be left
 * alone, then is freed.
 */
enum client_state { CLIENT_STARTUP, CLIENT_TLS, CLIENT_AUTH, CLIENT_WELCOME, CLIENT_READY, CLIENT_CLOSING };

/*
 *            BEGIN                 error                COMMIT
 *   NONE ------------> OPEN ------------------> FAILED --------> ENDING -> NONE
 *    |                  |     ROLLBACK TO <------/                 ^
 *    |                  \---------- COMMIT, ROLLBACK --------------/
 *    \--------------> IMPLICIT -- end of the query, Sync ----------/
 *      several shards,      \---- error --> IMPLICIT_FAILED -------/
 *      several statements
 *
 *  OPEN, FAILED: the client opened it; ReadyForQuery says T, E. IMPLICIT: the proxy did; BEGIN has been sent
 * to every link. ENDING: COMMIT or ROLLBACK is under way; nothing else is sent.
 */
enum txn_state { TXN_NONE, TXN_OPEN, TXN_FAILED, TXN_IMPLICIT, TXN_IMPLICIT_FAILED, TXN_ENDING };

/* What the links' answers are for. */
enum run_kind {
    RUN_NONE,
    RUN_LOGIN,    /* waiting for the first server, for its parameters */
    RUN_CATALOG,  /* a relation is being loaded */
    RUN_SINGLE,   /* one shard answers, bytes pass (simple query) */
    RUN_PIPELINE, /* one shard answers extended messages, bytes pass; ends when nothing is outstanding */
    RUN_MULTI,    /* several shards answer one statement; scatter.c merges */
    RUN_COPY_IN,  /* the client's data goes to one or several shards */
    RUN_CONTROL,  /* SAVEPOINT, SET, ...: the same text on every link, one answer */
    RUN_ENDING    /* COMMIT or ROLLBACK */
};

/* RUN_PIPELINE: whose answers go to the client: pipeline.c */
enum pipeline_order { ORDER_ONE, ORDER_TURNS, ORDER_VOID };

enum dispatch { DISPATCH_DONE, DISPATCH_AGAIN };

/* COPY ... FROM STDIN by the extended protocol, on one shard: it has been sent; the shard takes data, and a
   Sync that was sent along is ignored, as the shard would. */
enum copy_pass { COPY_PASS_NONE, COPY_PASS_STARTING, COPY_PASS_DATA };

/* One shard that this client uses now: a participant of its transaction, or pinned, or answering a statement.
 */
struct link {
    struct list_node node; /* env->links_free */
    struct client *client;
    struct server *server; /* NULL while waiting for one */
    unsigned shard;        /* index in the database */
    struct server_wait wait;
    bool waiting;
    bool in_txn;   /* BEGIN has been sent */
    bool writer;   /* has, or may have, written */
    bool own_part; /* ... something that not every shard has written */
    bool used;     /* ran a statement of the client's: not joined for the catalog only */
    bool bound;    /* has, or had, a portal of the client's */
    bool cannot_prepare;
    bool pinned;           /* keeps its server after the transaction: state.c */
    bool kept;             /* ... whatever is asked of it: what it has cannot be */
    bool sequence_used;    /* in this transaction */
    bool temporary;        /* it has temporary objects, or had when it was asked last */
    bool temporary_unsure; /* ... and code that nobody sees may have made or dropped some since */
    bool
        doubtful; /* ... behind which prepared statements may mean other relations, without the server's knowing */
    bool renewed; /* ... and have been prepared again since */
    bool looking; /* its server is asked what has been left there */
    bool look_failed;
    uint64_t temporary_set; /* a hash of which; 0: none */
    uint16_t effects;       /* enum effect of what ran since it was asked last */
    uint16_t held;          /* found there */
    uint16_t found;         /* by the look under way */
    struct varset *found_vars;
    bool vars_due;        /* SET was sent ahead of everything else; nothing follows before its answer */
    bool vars_canceled;   /* ... that SET was cancelled */
    bool name_unknown;    /* the SET of application_name ahead of BEGIN was cancelled */
    bool open_pipeline;   /* extended messages were sent since the last Sync */
    bool flush_sent;      /* ... and Flush after the last of them */
    bool ending;          /* a reader's COMMIT beside a two-phase commit is under way */
    bool ended;           /* CommandComplete of COMMIT or ROLLBACK has come */
    bool committed;       /* ... of the COMMIT: what was SET stays on this server, whatever others say */
    bool coordinator_has; /* belongs to the coordinator: a participant of a two-phase commit */
    bool lost;
    struct varset *vars_before; /* of the server, until its SET is answered */
    unsigned participant;       /* number in the coordinator */
    unsigned source;            /* number in the scatter */
    bool source_due;            /* ... whose ReadyForQuery is still to come */
};

/* What is sent again to a shard that joins late, in order. */
struct replay {
    struct list_node node;
    bool savepoint;
    size_t bytes;
    char *name; /* savepoint's */
    char *sql;
    struct varset *vars;           /* savepoint: the client's variables when it was set */
    struct varset *guc, *guc_kept; /* ... and pgunison.* */
    bool guc_local;
};

struct client_statement { /* of Parse */
    struct statement_def *def;
    uint32_t name_bytes : 31;
    bool acknowledged : 1;    /* ParseComplete has been sent, or is on its way with a real Parse */
    uint32_t text_bytes : 31; /* what it counts for of def's */
    bool unnamed : 1;
};

struct client_portal {
    struct link *link; /* single shard: where it is; NULL otherwise */
    struct plan *plan; /* pinned; NULL once it was run, unless it has a link */
    struct statement_def *statement;
    struct slice bind_message; /* several shards, or local: the whole Bind message, in bind or in bind_blob */
    struct buf bind;
    struct blob *bind_blob;
    bool local;                 /* the proxy runs it itself: BEGIN, COMMIT, ... */
    bool done;                  /* has been run to its end */
    size_t bytes;               /* counted in the names' bytes; 0: the unnamed one */
    struct client_portal *next; /* env->portals_free */
};

/* What a client has given names to: made with the first name, as most never give any. */
struct client_names {
    struct hashmap statements; /* -> struct client_statement */
    struct hashmap portals;    /* -> struct client_portal */
    struct hashmap cursors;    /* -> link's shard + 1 */
    size_t text_bytes;         /* of what the statements stand for, which others may have, too */
    size_t bytes;              /* of everything else in statements and portals */
};

struct client_txn {
    enum txn_state state;
    struct transaction_modes modes;
    struct list replay; /* struct replay */
    size_t replay_bytes;
    struct varset *vars_before; /* the client's variables when it began */
    struct varset *guc_before;  /* ... and pgunison.* */
    bool lost_untold; /* it failed because an idle shard was lost: the client has yet to hear of it */
    bool catalog_changed, defaults_changed, catalog_apart;
    char *defaults_role; /* of whom; NULL: of everybody */
    struct catalog *
        catalog; /* private, once names mean something else than to others; apart: theirs is renewed too often */
    struct catalog **old_catalogs;
    unsigned n_old;
    uint64_t catalog_context;
    uint64_t began_us;
};

/* What follows when COMMIT or ROLLBACK is through. */
enum after_end {
    AFTER_STATEMENT, /* explicit COMMIT or ROLLBACK: CommandComplete, then as after any statement */
    AFTER_QUERY,     /* implicit transaction of a simple query: what was held back, ReadyForQuery */
    AFTER_SYNC,      /* implicit transaction of a pipeline: ReadyForQuery */
    AFTER_NOTHING    /* the client is gone */
};

struct client {
    /* What every statement looks at comes first: with many clients the first look at a line of memory is what costs. */
    struct session_env *env;
    struct stream *stream;
    struct config *config; /* a reference: what this session runs under; moves between transactions */
    const struct database_def *db;
    struct link **links;
    unsigned n_links, cap_links;
    struct server_pool **pools; /* [db->n_shards], found when first needed */
    struct link *run_link;      /* RUN_SINGLE, RUN_PIPELINE, RUN_CATALOG */

    enum client_state state;
    enum run_kind run;
    enum copy_pass copy_pass;
    bool console, admin, console_waiting;
    bool transcoded;      /* client_encoding differs from the shards': bytes do not sort as the shards' do */
    bool unsafe_encoding; /* client_encoding whose second bytes may be ASCII: statements cannot be read */
    bool nonstandard_strings; /* standard_conforming_strings = off: statements cannot be read */
    bool run_failed;
    bool preamble_failed; /* BEGIN or the replay failed: the statement's own error would say less */
    bool reading;
    bool walking; /* the messages of a read, which are not in `in` yet, are being dispatched */
    bool resumed;
    bool in_request;    /* between a request's first message and ReadyForQuery */
    bool output_full;   /* somebody waits for room in the output */
    bool simple_retry;  /* the Query could not begin yet and is dispatched again */
    bool skip_query;    /* the Query that is dispatched again has been answered: it goes */
    bool simple_open;   /* a Query message is being answered: ends with ReadyForQuery */
    bool multi;         /* the Query has several statements: parts */
    bool sync_pending;  /* Sync has been dispatched, its answer is due */
    bool extended_open; /* messages since the last Sync */
    bool skip_till_sync;
    bool parse_retry; /* the Parse at hand has put its statement already */
    bool reads_only;  /* they may run ahead: nothing but reads since the last Sync */
    bool console_extended;
    bool asks_sequences; /* it has called lastval() or currval() */
    uint16_t looks;      /* links whose servers are asked: state.c; no message is dispatched meanwhile */
    bool guc_local;      /* SET LOCAL pgunison.*: guc_kept is what COMMIT leaves */
    bool broken;         /* client_broken() */

    struct varset *vars;         /* what it has SET */
    struct varset *guc_pgunison; /* SET pgunison.* */
    struct plan *plan;           /* pinned: of the statement that runs */
    const struct frame *frame;   /* the Query that is being dispatched */
    struct error *plan_error;    /* of a catalog query: for the statement that needed it; NULL: none */
    struct error *acquire_error; /* of a wait for a server, likewise */
    struct slice rest;           /* what follows the message that is being dispatched */
    size_t need_input;           /* bytes of the message under way, as far as they are known */
    struct refused
        *refused; /* that message is not taken: memory.c; its bytes, need_input more, are dropped */
    size_t memory_own, memory_buffers; /* as of the last look */
    uint32_t held_blocks;              /* memory_holds(): has looked at so many */
    struct buf in;                     /* input that waits: of its own, or in in_blob */
    struct blob *in_blob;              /* NULL: in's memory is its own */
    struct txn_commit *commit;         /* two-phase commit under way: txn_port.c */
    struct scatter *scatter;           /* RUN_MULTI */
    struct ordered *ordered; /* RUN_MULTI, RUN_COPY_IN: what shards have yet to be sent; NULL: nothing */
    uint64_t request_us;
    struct client_names *names;                /* NULL: none */
    struct client_statement unnamed_statement; /* def NULL: none */
    struct client_portal *unnamed_portal;      /* NULL: none */
    struct client_txn txn;

    enum pipeline_order order;
    unsigned turns_left;     /* ORDER_TURNS: how many follow the one of c->turn */
    struct link *turn;       /* ORDER_TURNS: who answers */
    uint32_t sequence_uses;  /* statements that may have used one: sequences.c */
    unsigned control_due;    /* RUN_CONTROL, RUN_ENDING, RUN_COPY_IN: answers still to come */
    struct error *run_error; /* of the catalog query, or of the COMMIT, that is under way; NULL: none yet */
    bool multi_cancelled, multi_final, multi_rows_done;
    bool
        describe_due : 1; /* a Describe is answered by the Execute of its portal, which is the next message */
    bool
        query_flushes : 1; /* a Query waits for extended messages' answers: it has sent the Flush that brings them */
    bool temporary : 1;           /* a link has, or may have, temporary objects: scope.c */
    bool temporary_unsure : 1;    /* a link is to be asked for them before names are looked up */
    bool temporary_stale : 1;     /* ... others than own_scope knows */
    bool temporary_unsettled : 1; /* ... which the transaction may yet take back */
    unsigned speaker;         /* the shard whose notices the client hears where all do the same: notice.c */
    struct link *multi_first; /* the first shard that was through: does an aggregate's last step */
    struct buf held; /* what may be sent only after the commit: CommandComplete of an implicit transaction */
    const char *control_tag; /* RUN_CONTROL: the tag to answer with */
    void (*control_done)(struct client *c, bool ok);
    struct set *set; /* RUN_CONTROL: the SET under way: vars.c; NULL: none */

    enum after_end after_end;
    bool commit_failed, committing;
    bool end_chain;
    bool
        query_syncs; /* query_flushes, which brought an error: the Query has no other answer than ReadyForQuery */
    const char *end_tag, *committing_tag; /* the client's; what the shards answer when it worked */
    const char *last_commit;              /* SHOW pgunison.last_commit: its words, NULL: none yet */
    char *last_txid;                      /* ... of a two-phase one, else NULL */

    /* simple query of several statements: where it stands */
    size_t *part_ends; /* [2 * n_parts]: where each begins and ends in the text of the query */
    size_t n_parts, part;
    struct slice
        query_rest; /* owned: its text, once a COPY FROM STDIN of it waits for what follows it in the input */

    struct copy_in *copy; /* RUN_COPY_IN */

    struct catalog_load *loading;
    struct plan_scope *own_scope; /* NULL: the environment's */
    struct plan_scope
        *loading_scope;       /* keeps the catalog that is being loaded into; NULL: nothing is loaded */
    struct load_queue *loads; /* what the router asked for and the catalog has yet to learn; NULL: nothing */
    bool saw_missing;         /* the router asked for a relation that does not exist */
    bool wants_missing;       /* such are in the catalog on its account */
    uint8_t load_rounds;      /* of the statement that is planned */
    bool freed;
    uint32_t
        told; /* struct begun.told of its welcome, or of the last server that was made to fit that; 0: none yet */
    struct varset
        *began; /* its welcome: what the home shard's server told, and its default isolation level */

    struct deferred pump; /* room is made in the output; if resumed, the messages that wait are tried again */

    struct list_node node; /* env->clients */
    char *user, *database, *password;
    uint64_t user_id; /* session_number_of() its name */
    struct peer_address peer;
    struct auth *auth;
    uint32_t pid, secret;
    uint64_t connected_us;
    struct varset *reported; /* ParameterStatus values that it was told */
    struct datum_style style;
    struct varset *vars_startup; /* of its startup packet: what RESET goes back to */
    struct varset *guc_kept;     /* guc_local: pgunison.* without what is LOCAL */
};
/* Thousands of them idle at once: what a client needs rarely, or only while it runs something, has memory of
   its own. test/integration/test_memory.py measures the whole. */
static_assert(sizeof(struct client) <= 888, "an idle client is small");

/* client.c */
void client_close(struct client *c);
void client_fatal(struct client *c, const struct error *e); /* tells the client, then closes */
/* client_fatal() from outside, whatever it runs, which is cancelled: if that may have taken effect it is told so, 08007. */
void client_end(struct client *c, const struct error *why);
void client_fatal_torn(struct client *c,
                       const struct error *e); /* half a message has been sent: closes without a word */
void client_write(struct client *c, const void *data, size_t len);
void client_send(struct client *c, const struct buf *b);
void client_output_full(struct client *c); /* run_client_drained() follows when there is room again */
void client_resume(struct client *c);      /* goes on with the input, from the loop */
void client_update_reading(struct client *c);
void client_send_empty(struct client *c, uint8_t type);
/* Peers have led the session into a state that its machines do not know: it is logged, and the session, not the process, is
   closed, by the janitor and at once. May be called anywhere; the caller does nothing of what it was about to do. */
void client_broken(struct client *c, const char *what);
void client_command_complete(struct client *c, const char *tag);
void client_send_error(struct client *c, const struct error *e);
void client_send_warning(struct client *c, const struct error *e);
void client_ready(struct client *c); /* ReadyForQuery, and everything that ends with a cycle */
char client_txn_status(const struct client *c);
void client_free_if_done(struct client *c);
/* What a client that is gone will not need while it waits for its shards. Not while its input is dispatched. */
void client_drop_memory(struct client *c);
struct buf *client_scratch(struct client *c); /* emptied; for one message to be built and sent */
void client_reconfigure(struct client *c);
static inline void stats_add(atomic_uint_fast64_t *counter, uint64_t n)
{
    /* One writer: a plain load and store, made atomic for the readers' sake only. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint32_t client_max_message(const struct client *c)
{
    uint64_t set = c->config->settings.max_message_bytes;
    return set < LONGEST_MESSAGE_BYTES ? (uint32_t)set : LONGEST_MESSAGE_BYTES;
}

static inline void client_request_begins(struct client *c)
{
    c->in_request = true;
    c->request_us = loop_now_us(c->env->loop);
}

/* memory.c */
/* What grows by less is not looked at. */
#define MEMORY_BLOCK_BYTES ((size_t)64 * 1024)
void memory_look(struct session_env *env); /* at everybody: the janitor's */
void memory_forget(struct client *c);
void memory_leaves(struct client *c); /* it is CLIENT_CLOSING from now on */
void memory_left(struct client *c);   /* ... and has dropped what it could */
size_t memory_of(const struct client *c);
/* 53200: the client cannot have so much more. May be called at any time; ends nobody. */
enum status memory_admits(struct client *c, size_t more, struct error *error_r) MUST_CHECK;
/* The same for what stays with it: names, portals, savepoints. Asked about each, it looks once in a block. */
enum status memory_holds(struct client *c, size_t more, struct error *error_r) MUST_CHECK;
/* The message under way is not taken: c->need_input is what is still to come of it. */
void memory_refuse(struct client *c, uint8_t type, const struct error *e);
enum dispatch memory_refused(struct client *c); /* it is its turn: the answer */
void memory_refused_free(struct client *c);

/* cancel.c */
void cancel_register(struct client *c);
void cancel_unregister(struct client *c);

/* console.c */
enum dispatch console_query(struct client *c, struct slice sql, bool extended);
void console_replied(struct client *c);
enum dispatch console_extended(struct client *c, const struct frame *f);

/* login.c */
enum dispatch login_read(struct client *c);
enum dispatch login_wait(struct client *c); /* WELCOME: goes on when the first server is there */
enum dispatch login_password(struct client *c, const struct frame *f);
void login_server_granted(struct client *c, struct server *s);
void login_forget_welcomes(struct session_env *env);
void login_failed(struct client *c, const struct error *why);

/* simple.c */
enum dispatch simple_query(struct client *c, const struct frame *f);
/* The CommandComplete at hand is the last of several statements in an implicit transaction: it goes to c->held, as it
   is true only once the COMMIT that follows has succeeded. */
bool simple_holds_tag(const struct client *c);
void simple_statement_done(struct client *c, bool ok); /* the statement at hand has been answered */
void simple_go_on(struct client *c); /* with a query whose message has left the input (c->query_rest) */
enum dispatch simple_refused(struct client *c, const struct error *e); /* instead of simple_query() */
/* What needs no shard, or is the same on all of them. params: of Bind; NULL: none. */
enum dispatch session_execute_verb(struct client *c, struct plan *p, const struct template *t,
                                   const struct route_params *params, bool *handled_r);

/* extended.c, statements.c */
struct client_names *client_names(struct client *c);
bool extended_has_statement(struct client *c, const char *name);
enum dispatch extended_refused(struct client *c, const struct error *e); /* instead of extended_message() */
enum dispatch extended_message(struct client *c, const struct frame *f);
void extended_reply(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
void extended_link_lost(struct client *c, struct link *l, const struct error *e);
void extended_forget_portals(struct client *c);
void extended_forget_portals_of(struct client *c, const struct link *l); /* those that are there */
void extended_deinit(struct client *c);
void extended_parse_skipped(struct client *c, struct link *l, const struct expect *e);
/* The client is not to hear the answer, nor to know of what was parsed: an error came before. */
void extended_forget_answer(struct client *c, struct link *l, struct expect *e);
/* A Query, or what else ends a pipeline, while everything up to Sync is skipped. */
enum dispatch extended_skips_query(struct client *c);
bool extended_close_pipeline(
    struct client *c); /* a Query comes without Sync before: false: not yet, client_resume() follows */
void extended_deallocate(struct client *c, const char *name);

/* plan.c: PLAN_AGAIN: waits for the catalog; PLAN_ERROR: *error_r */
enum plan_result { PLAN_READY, PLAN_AGAIN, PLAN_FAILED };
enum plan_result session_plan(struct client *c, const struct template *t, uint32_t n_types,
                              const uint32_t *types, struct plan **plan_r, struct error *error_r);
void plan_catalog_message(struct client *c, struct link *l, const struct frame *f);
void plan_catalog_abort(struct client *c);
void plan_catalog_changed(struct client *c); /* DDL was sent */
void plan_names_changed(struct client *c);   /* names may mean other relations, for this transaction alone */
void plan_txn_ended(struct client *c, bool committed);
/* The statement p is to be sent, after which sessions begin with something else (EFFECT_DEFAULTS); it has failed. */
void plan_defaults_change(struct link *l, const struct plan *p);
void plan_defaults_kept(struct client *c);
void plan_catalog_free(struct client *c); /* the transaction's own */
/* scope.c */
const char *plan_custom_name(struct client *c, size_t i); /* custom_name() of its database */
void plan_temporary_changed(struct link *l,
                            const struct plan *p); /* p, which may make or drop some, is sent */
void plan_temporary_settles(struct client *c); /* what a transaction made or dropped is there, or gone, now */
void plan_rolled_back(struct client *c);       /* to a savepoint */
void plan_own_drop(struct client *c);
void plan_catalogs_changed(
    struct client
        *c); /* what is known of c's database, and of those that share a shard's, is of no use now */
uint64_t plan_statement_epoch(struct client *c); /* for statement_intern() */
size_t plan_own_bytes(const struct client *c);
void session_unplan(struct client *c, struct plan **plan);
/* scope.c: the environment's */
void session_scopes_create(struct session_env *env);
void session_scopes_renew(
    struct session_env *env); /* under its configuration; plans made so far are of no use */
void session_scopes_drop(struct session_env *env);
/* Databases that were not there, or were elsewhere, under `old`: this worker could not say that they had changed. */
void session_scopes_moved(struct session_env *env, const struct config *old);
size_t session_scope_bytes(const struct session_env *env);
uint64_t session_number_of(struct session_env *env, struct slice text);

/* link.c */
/* What an expectation is for (struct expect.tag). */
enum link_tag {
    TAG_STATEMENT, /* the client's own: simple query, or extended messages that pass */
    TAG_VARIABLES, /* SET ... before BEGIN */
    TAG_BEGIN,     /* BEGIN and the replay */
    TAG_CATALOG,
    TAG_SYNC,          /* the client's Sync */
    TAG_SYNC_INNER,    /* a Sync of the proxy's own */
    TAG_PARSE,         /* Parse of a named statement of the client: arg is its client_statement */
    TAG_PARSE_UNNAMED, /* Parse of the client's unnamed statement */
    TAG_PARSE_AGAIN,   /* the proxy prepares it on one more server: arg is the statement_def */
    TAG_CLOSE,         /* Close of a statement that has to go: arg is the definition's id */
    TAG_BIND_ACK,      /* Bind before whose answer the client gets ParseComplete */
    TAG_CONTROL,       /* RUN_CONTROL */
    TAG_READ,          /* ... what the variables are that it has set */
    TAG_END,           /* COMMIT or ROLLBACK of one phase */
    TAG_TWO_PHASE,     /* txn_port.c */
    TAG_FINAL,         /* the last step of an aggregate */
    TAG_READER,        /* COMMIT of a reader beside a two-phase commit */
    TAG_CLEANUP,       /* ROLLBACK for a client that is gone */
    TAG_STATE,         /* state.c */
    TAG_SEQUENCES      /* sequences.c */
};
enum acquire { ACQUIRE_READY, ACQUIRE_WAIT, ACQUIRE_FAILED };
struct link *link_find(struct client *c, unsigned shard);
/* Servers of all `shards`. They are asked for in ascending order, one after the other, so that statements
   over several shards cannot wait for each other in a circle. ACQUIRE_WAIT: client_resume() follows, and the
   call is to be made again. */
enum acquire links_acquire(struct client *c, const struct shard_set *shards, struct error *error_r);
void link_sync(struct link *l); /* ends an open pipeline by a Sync of the proxy's own */
void link_acquire_failed(struct client *c, const struct error *why);
/* Makes the link ready for a statement: sets variables, and in a transaction sends BEGIN and the replay if it
 * has not joined. Queues only. */
void link_prepare(struct link *l);
void link_begin_implicit(
    struct client *c); /* every link that runs an implicit transaction of its own gets BEGIN */
void link_put(struct link *l,
              bool clean);             /* gives the server back (or keeps it, if pinned) and drops the link */
void link_put_reset(struct link *l);   /* a pinned server is cleaned and given back */
void links_put_idle(struct client *c); /* after a transaction */
void links_abandon(struct client *c);  /* the client is gone */
void link_query(struct link *l, struct slice sql, enum expect_sink sink, uint16_t tag);
void link_query_rope(struct link *l, const struct rope *r, size_t from, size_t to, enum expect_sink sink,
                     uint16_t tag);
void link_write_rope(struct link *l, const struct rope *r, size_t from,
                     size_t to); /* its pieces [from, to) */
extern const struct server_owner_ops link_ops;
void link_cancel_all(struct client *c);
void link_append_modes(struct buf *b, const struct transaction_modes *m);
void link_mark(struct link *l, const struct plan *p);
/* The statement that was sent last is p: if it is a COPY of the client's, the shard may answer so. */
static inline void link_expect_copy(struct link *l, const struct plan *p)
{
    if (p->verb == VERB_COPY_OUT || p->verb == VERB_COPY_IN)
        server_expect_copy(l->server, p->verb == VERB_COPY_OUT ? EXPECT_COPY_OUT : EXPECT_COPY_IN);
}
/* Its server is the session's between transactions, too. */
bool link_keeps_server(const struct link *l);
/* Whether the shard was lost for what it said, and what the client hears of a loss. */
bool link_violated(const struct error *why);
void link_lost_error(const struct link *l, const struct error *why, struct error *e_r);
/* In front of a write to a reference table, within the transaction: plan->copies. */
void link_lock_copies(struct link *l, const struct plan *p);
void link_expect_spread(struct link *l); /* Parse, Bind, Describe, Execute, Sync of a statement for several */
void session_replay_clear(struct client *c);

/* state.c */
void state_mark(struct link *l, uint16_t effects); /* a statement with these is to be sent */
/* True: the server is asked what it was left with; link_put() and client_resume() follow. */
bool state_ask(struct link *l);
const char *state_question(size_t i); /* all that it may ask, one kind of state each; NULL past the end */
/* The further part for a custom variable: an identifier of ASCII (backend/catalog_code.c). */
void state_custom_question(struct buf *sql, const char *name);
bool state_unasked(const struct link *l); /* it may have custom variables that nobody knows of */
void state_message(struct link *l, const struct frame *f);
void state_lost(struct link *l, const struct error *why); /* while it was asked */
bool state_has_prepared(struct client *c);                /* a server may have statements of its PREPARE */
enum dispatch state_deallocate(struct client *c, struct slice sql, bool all); /* ... and then, on that one */

/* sequences.c: lastval(), currval() */
void sequences_mark(struct link *l, uint16_t effects); /* a statement with these is to be sent next */
/* 55000: the statement asks for what is not on l's server. The server would say so too, but not why. */
enum status sequences_check(const struct link *l, const struct plan *p, struct error *error_r) MUST_CHECK;
void sequences_not_discarded(struct server *s); /* an error came instead of the answer to TAG_SEQUENCES */

/* link_vars.c */
/* Nothing has to be done about the server's variables: the usual case. */
static inline bool link_is_set(const struct link *l)
{
    const struct client *c = l->client;
    return l->in_txn || l->open_pipeline || (SEEDED_BUG(BUG_OTHERS_VARIABLES) && c->txn.state == TXN_NONE) ||
           (l->server->vars == (c->txn.state == TXN_NONE ? c->vars : c->txn.vars_before) && !l->vars_due);
}
bool link_suits(struct link *l); /* false: its server cannot be made what the session wants */
/* What differs is sent. True: link_variables_ready() follows, and client_resume(). */
bool link_waits_for_variables(struct link *l);
void link_set_name(struct link *l); /* application_name, which need not be waited for */
void link_variables_failed(struct link *l, const struct error *why);
void link_variables_ready(struct link *l);
void link_variables_lost(struct link *l, const struct error *why);
void link_note_variables(struct link *l, const struct varset *vars); /* its server has them from now on */

/* pipeline.c */
static inline bool pipeline_may_run_ahead(const struct plan *p)
{
    return p->verb == VERB_QUERY && !p->writes; /* locks and functions it knows nothing of count as writes */
}
bool pipeline_drained(struct client *c); /* nothing is outstanding; or it is made to come, and client_resume()
                                            follows */
bool pipeline_owes(const struct link *l);
void pipeline_on(struct client *c, struct link *l); /* a message has been, or will be, written to l */
bool pipeline_turn_to(struct client *c,
                      struct link *to); /* messages may go to `to` now; false as pipeline_drained() */
/* Nothing runs ahead until Sync, because of what comes; false as pipeline_drained(). */
bool pipeline_alone(struct client *c);
/* The link that messages for `shard` go to: acquired, joined. NULL: not yet (ACQUIRE_WAIT), or not at all. */
struct link *pipeline_target(struct client *c, unsigned shard, enum acquire *result_r, struct error *error_r);
void pipeline_void(struct client *c, struct link *failed); /* nothing that is outstanding is told */
/* The client's Flush where everything has been answered: it brings errors that shards have had since. */
void pipeline_flush(struct client *c);
/* An error of a shard that has answered all that it was sent but Flush: told to the client, and everything up to Sync is
   skipped. False: it cannot be the client's. */
bool pipeline_error_between(struct client *c, struct link *l, const struct frame *f);
/* The proxy's own error: Sync must not commit what a shard has done in its own implicit transaction, of which that
   shard knows no error. */
void pipeline_take_back(struct client *c);
void pipeline_answered(struct client *c, const struct link *l);
/* False: nothing of the pipeline is. */
bool pipeline_lost(struct client *c, struct link *l, const struct error *e);

/* txn.c */
void txn_begin(struct client *c, const struct transaction_modes *modes);
void txn_begin_implicit(struct client *c);
bool txn_may_span(const struct client *c, struct error *error_r);
void txn_fail(struct client *c);
enum status txn_failed_error(struct client *c, struct error *error_r);
void txn_fail_untold(struct client *c); /* without a word to the client: COMMIT will be an error */
void txn_end(struct client *c, bool commit, enum after_end after, const char *tag, bool chain);
void txn_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
void txn_end_failed(struct client *c, struct link *l,
                    const struct frame *f); /* ahead of COMMIT or ROLLBACK */
void txn_link_lost(struct client *c, struct link *l, const struct error *why);
enum dispatch txn_verb(struct client *c, struct plan *p,
                       const struct template *t); /* BEGIN ... ROLLBACK TO */
void txn_ended(struct client *c, bool committed, const struct error *error);
void txn_add_replay(struct client *c, const char *savepoint, struct slice sql);
/* COMMIT is under way: how it ends must be told. */
bool txn_commits(const struct client *c);
/* What may stand although its answer has not come, in words: a COMMIT, or a statement that writes outside a
   transaction; NULL: nothing. */
const char *txn_open_outcome(const struct client *c);
bool txn_in_block(const struct client *c);

/* txn_port.c */
/* False: nothing was sent, error_r says why. Else txn_ended() follows. */
bool txn_commit_two_phase(struct client *c, struct error *error_r);
void txn_commit_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
void txn_commit_lost(struct client *c, struct link *l, const struct error *why);
void txn_commit_client_gone(struct client *c);
const char *txn_commit_txid(const struct client *c);
const char *txn_commit_state(const struct client *c);
void txn_commit_cancel(struct client *c); /* before the decision: rolls back; later: changes nothing */

/* decide.c: the decision, as prepared statements */
struct txn_decision;
void decide_init(struct session_env *env);
void decide_send(struct link *l, const struct txn_decision *d);
/* One of its messages failed, or (without why) was skipped after another failed. */
void decide_failed(struct link *l, const struct expect *e, const struct error *why);

/* run.c: statements on shards */
/* Takes p over, a pin, unless it is DISPATCH_AGAIN. */
enum dispatch run_simple(struct client *c, struct plan *p, const struct template *t);
void run_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
void run_forward(struct client *c, struct link *l, const uint8_t *bytes, size_t len);
void run_link_lost(struct client *c, struct link *l, const struct error *why);
enum status run_find_shards(struct client *c, struct plan *p, const struct template *t,
                            const struct route_params *params, struct shard_set *shards, uint8_t *row_shards,
                            struct error *error_r) MUST_CHECK;
enum status run_multi_create(struct client *c, struct plan *p, const struct shard_set *shards,
                             const struct template *t, const struct route_params *params,
                             const struct msg_bind *bind, bool describe, struct error *error_r) MUST_CHECK;
/* Appends the text for one shard of the statement. */
void run_shard_text(const struct plan *p, const struct template *t, const uint8_t *row_shards, unsigned shard,
                    struct rope *out);
bool run_has_high_bytes(struct slice s);
void run_transcoded_error(struct error *e);
void run_failed_by_shard(struct client *c);
void run_transaction_vanished(struct client *c, struct link *l);
void run_client_drained(struct client *c);
unsigned run_cursor_shard(const struct client *c, const struct plan *p);
bool session_allows_hints(const struct client *c); /* routing_hints, the database's or else the process's */
void run_note_cursor(struct client *c, const struct plan *p, const struct shard_set *shards);
void run_end_of_read(struct client *c, struct link *l);
void run_shard_error(struct client *c, struct link *l, const struct frame *f);
/* The proxy's own error as the answer to the statement (or, `quiet`, to what follows it): fails the
   transaction, and an extended client is ignored until Sync. */
void run_error_answer(struct client *c, const struct error *e, bool at_end);
void run_error_add_shard(struct error *e, const char *shard);
void run_preamble_error(struct client *c, struct link *l, const struct frame *f);
void run_statement_done(struct client *c, bool ok); /* simple or extended: what follows a statement */

/* ordered.c: writes over several shards, one shard after the other. c->plan is the statement's. */
bool ordered_wanted(const struct plan *p, unsigned n_shards);
void ordered_create(struct client *c, const struct shard_set *shards, bool extended);
void ordered_put(struct client *c, unsigned shard, const struct rope *message);
void ordered_put_all(struct client *c, const struct rope *message); /* the same for every shard */
size_t ordered_memory(const struct client *c);
void ordered_send(struct client *c);                        /* to the next shard */
bool ordered_waits(const struct client *c, unsigned shard); /* it has not been sent there yet */
unsigned ordered_drop(struct client *c); /* the rest is not sent; how many shards that are */
void ordered_cancel(struct client *c);   /* a cancel request that the shard at hand may answer too late for */
bool ordered_cancelled(const struct client *c);
void ordered_free(struct client *c);

/* notice.c: NoticeResponses of shards */
void notice_speaker(struct client *c, const struct shard_set *shards);
void notice_of_statement(struct client *c, const struct link *l, const struct frame *f); /* c->plan's */
void notice_of_control(struct client *c, const struct link *l, const struct frame *f);
void notice_of_end(struct client *c, const struct link *l,
                   const struct frame *f); /* COMMIT, ROLLBACK, PREPARE */
bool notice_hides_warnings(const struct client *c);

/* vars.c */
/* varset_with(), shared with all sessions of the worker. */
struct varset *vars_with(struct client *c, const struct varset *v, const char *name, const char *value);
/* On every participant, and on those to come; there is one, or it waits for the home shard. */
enum dispatch vars_set_transaction(struct client *c, const struct transaction_modes *modes, struct slice sql,
                                   const char *tag);
enum dispatch vars_verb(struct client *c, struct plan *p, const struct template *t,
                        const struct route_params *params);
/* Of SET, RESET, set_config(): an answer to TAG_CONTROL or TAG_READ. True: it needs no more than that. */
bool vars_message(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
/* Shown with six digits, a number is not all that was said: 1.23456789 is to be kept when that is what is shown. */
bool vars_shown_as(const char *text, const char *shown);
/* Custom variables in the statement at hand, which a server may have already; NULL: none. */
const struct varset *vars_named(const struct client *c);
void vars_set_free(struct client *c); /* the one under way, if any */
/* Startup packet. False: no name of a variable. */
bool vars_startup(struct client *c, const char *name, const char *value);

/* vars_own.c: pgunison.*, transactional like any setting */
enum dispatch vars_own_set(struct client *c, struct plan *p);
void vars_own_reset(struct client *c);
void vars_own_txn_begins(struct client *c);
void vars_own_txn_ended(struct client *c, bool committed);
void vars_own_savepoint(struct client *c, struct replay *r);
void vars_own_rollback_to(struct client *c, const struct replay *r);

/* reported.c */
void vars_keep_told(struct client *c, const struct server *s);
void vars_parameter_status(struct client *c, struct link *l, const struct frame *f);
void vars_apply_reported(struct client *c);
/* Whether a statement can be read as the shards read it. Refused (0A000): in an encoding in which a byte of ASCII may be part
   of a character; where backslashes are escapes in plain strings, with a backslash in it. */
enum status vars_check_readable(const struct client *c, struct slice sql, struct error *error_r) MUST_CHECK;
void vars_note_reported(struct client *c, const char *name, const char *value);
bool vars_encoding_is_unsafe(const char *name);

/* show.c: statements that the proxy answers itself with rows. describe: with RowDescription. */
enum dispatch show_pgunison(struct client *c, const struct plan *p, bool describe);
enum dispatch show_route(struct client *c, const struct plan *p, const struct template *t, bool describe);
void show_describe(struct client *c, const struct plan *p);

/* copy_in.c */
enum dispatch copy_in_start(struct client *c, struct plan *p, const struct template *t,
                            const struct shard_set *shards);
enum dispatch copy_in_message(struct client *c, const struct frame *f);
/* False: data is being copied in, and nothing of this type may come: the client has been told, and is closed. */
bool copy_in_allows(struct client *c, uint8_t type);
void copy_in_reply(struct client *c, struct link *l, const struct expect *e, const struct frame *f);
void copy_in_link_lost(struct client *c, struct link *l, const struct error *why);
enum dispatch copy_in_refused(struct client *c, const struct error *e); /* CopyData that is not taken */
size_t copy_in_memory(const struct client *c);
bool copy_in_takes_data(const struct client *c); /* it has not ended: nothing of it stands */
void copy_in_free(struct client *c);

#endif
