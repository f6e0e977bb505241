/* backend/pool.h, several workers: limits hold over all of them and nobody who waits is forgotten. For
 * ThreadSanitizer too. */
#include "pool_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static struct pg_fixture pg;
static struct pool_limits *limits;

/* Two workers in one thread, taking turns: every order of events can be made to happen. */
static struct worker x, y;

static void open_both(const char *settings)
{
    struct config *config = pool_config(&pg, settings, "");
    worker_open(&x, 0, limits, config);
    worker_open(&y, 1, limits, config);
}

static void close_both(void)
{
    pool_manager_destroy(&x.manager);
    pool_manager_destroy(&y.manager);
    mailbox_destroy(&x.mailbox);
    mailbox_destroy(&y.mailbox);
    loop_destroy(&x.loop);
    loop_destroy(&y.loop);
    config_unref(&x.config);
}

static void get(struct client *c, struct worker *w, const char *user)
{
    if (!client_acquire(c, w, worker_pool(w, user, 0), false))
        worker_run(w, 1);
    assert_non_null(c->server);
}

static void settle_both(void)
{
    for (int i = 0; i < 3; i++) {
        worker_settle(&x);
        worker_settle(&y);
    }
}

static void what_is_released_goes_to_the_other_worker(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    get(&a, &x, "postgres");
    uint32_t pid = backend_conn_pid(a.server->conn);
    client_query(&a, "SET work_mem TO '3MB'");
    a.server->vars = varset_with(NULL, "work_mem", "'3MB'");
    struct varset *session = varset_ref(a.server->vars); /* a session of x goes on using it */
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    settle_both();
    assert_null(b.server);
    client_release(&a);
    settle_both();
    assert_non_null(b.server);
    assert_int_equal(backend_conn_pid(b.server->conn), pid); /* the very connection */
    assert_ptr_not_equal(b.server->vars, session);
    assert_true(varset_equal(b.server->vars, session));
    assert_string_equal(client_query(&b, "SELECT current_setting('work_mem')"), "3MB");
    varset_unref(&session);
    client_release(&b);
    assert_int_equal(worker_stats(&x).idle, 0);
    assert_int_equal(worker_stats(&y).idle, 1);
    close_both();
}

static void prepared_statements_do_not_travel(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    struct statement_registry *r = pool_manager_statements(x.manager);
    struct prepared_close evicted[2];
    char prepare[100];
    get(&a, &x, "postgres");
    struct statement_def *d = statement_intern(r, 0, slice_str("SELECT 1"), 0, NULL);
    snprintf(prepare, sizeof(prepare), "PREPARE %s AS SELECT 1", d->server_name);
    client_query(&a, prepare);
    prepared_set_add(a.server->prepared, d, evicted);
    a.server->unnamed_statement = d->id;
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    settle_both();
    client_release(&a);
    while (!b.server)
        settle_both();
    assert_int_equal(prepared_set_count(b.server->prepared), 0);
    assert_int_equal(b.server->unnamed_statement, 0);
    assert_string_equal(client_query(&b, "SELECT count(*) FROM pg_prepared_statements"), "0");
    assert_int_equal(d->refs, 1);
    statement_unref(r, &d);
    client_release(&b);
    close_both();
}

static void what_is_idle_elsewhere_is_asked_for(void **state)
{
    (void)state;
    open_both("default_pool_size = 2\nreserve_pool_size = 0");
    struct client a = {0}, b = {0}, c = {0}, d = {0};
    get(&a, &x, "postgres");
    get(&b, &x, "postgres");
    client_release(&a);
    client_release(&b); /* both idle at x */
    struct server_pool *p = worker_pool(&y, "postgres", 0);
    assert_false(client_acquire(&c, &y, p, false));
    settle_both();
    assert_non_null(c.server);
    assert_int_equal(worker_stats(&x).idle, 1); /* no more than was wanted */
    assert_false(client_acquire(&d, &y, p, false));
    settle_both();
    assert_non_null(d.server);
    client_release(&c);
    client_release(&d);
    assert_int_equal(worker_stats(&y).idle, 2);
    close_both();
}

static void a_place_that_becomes_free_is_taken_by_the_other_worker(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    get(&a, &x, "postgres");
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    settle_both();
    pool_discard(a.server);
    settle_both(); /* by the message: the tick that would also find out comes once a second */
    assert_true(worker_stats(&y).opening == 1 || b.server);
    if (!b.server)
        worker_run(&y, 1);
    assert_non_null(b.server);
    client_release(&b);
    close_both();
}

static void other_users_connections_are_closed_across_workers(void **state)
{
    (void)state;
    open_both("max_db_connections = 2");
    struct client a = {0}, b = {0}, c = {0};
    get(&a, &x, "postgres");
    get(&b, &x, "postgres");
    client_release(&a);
    assert_false(client_acquire(&c, &y, worker_pool(&y, "trusted", 0), false));
    while (!c.server)
        settle_both();
    assert_string_equal(client_query(&c, "SELECT current_user"), "trusted");
    client_release(&b);
    client_release(&c);
    close_both();
}

static void a_busy_worker_does_not_keep_everything_to_itself(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0}, other = {0};
    struct server_pool *p = worker_pool(&x, "postgres", 0);
    get(&a, &x, "postgres");
    assert_false(client_acquire(&other, &y, worker_pool(&y, "postgres", 0), false));
    settle_both();
    struct client *holder = &a, *next = &b;
    for (int i = 0; !other.server; i++) { /* x always has somebody who waits, and hands on at once */
        assert_true(i < 10000);
        assert_false(client_acquire(next, &x, p, false));
        client_release(holder);
        settle_both();
        if (!other.server) {
            assert_non_null(next->server);
            struct client *swap = holder;
            holder = next;
            next = swap;
        }
    }
    client_release(&other);
    settle_both();
    assert_non_null(next->server); /* and gets it back */
    client_release(next);
    close_both();
}

static void privileged_waits_elsewhere_go_first(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0}, other = {0};
    get(&a, &x, "postgres");
    assert_false(client_acquire(&b, &x, worker_pool(&x, "postgres", 0), false));
    settle_both();
    assert_false(client_acquire(&other, &y, worker_pool(&y, "postgres", 0), true));
    settle_both();
    client_release(&a);
    settle_both();
    assert_null(b.server);
    assert_non_null(other.server);
    client_release(&other);
    settle_both();
    assert_non_null(b.server);
    client_release(&b);
    close_both();
}

static void a_parcel_for_a_worker_that_has_ended_is_closed(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    get(&a, &x, "postgres");
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    worker_settle(&y);
    client_release(&a);
    worker_settle(&x); /* posted; y has not looked */
    assert_int_equal(worker_stats(&x).idle, 0);
    pool_cancel_wait(&b.wait);
    close_both(); /* limits' end asserts that its place was given back */
}

static void a_server_that_nobody_wants_any_more_stays(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    get(&a, &x, "postgres");
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    worker_settle(&y);
    pool_cancel_wait(&b.wait);
    worker_settle(&y);
    client_release(&a);
    settle_both();
    assert_int_equal(worker_stats(&x).idle, 1);
    close_both();
}

static void a_reconnect_does_not_get_old_connections_from_a_worker_that_is_late(void **state)
{
    (void)state;
    open_both("default_pool_size = 1\nreserve_pool_size = 0");
    struct client a = {0}, b = {0};
    get(&a, &x, "postgres");
    uint32_t pid = backend_conn_pid(a.server->conn);
    worker_settle(&y);
    pool_manager_reconnect(y.manager, NULL); /* x has not heard of it */
    assert_false(client_acquire(&b, &y, worker_pool(&y, "postgres", 0), false));
    settle_both();
    client_release(&a);
    while (!b.server)
        settle_both();
    assert_int_not_equal(backend_conn_pid(b.server->conn), pid);
    client_release(&b);
    close_both();
}

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS 3
#define CLIENTS 6  /* per thread and pool */
#define ROUNDS  60 /* per client */

static atomic_int borrowed[2], most[2];
static atomic_int running; /* runners of all threads */
static const char *const users[] = {"postgres", "trusted"};

struct runner {
    struct client client;
    struct deferred next;
    struct thread *thread;
    int user, rounds;
    unsigned random;
};
struct thread {
    pthread_t id;
    struct worker worker;
    struct runner runners[CLIENTS * 2];
    int n_runners;
};
static struct thread threads[THREADS];

static unsigned draw(struct runner *r, unsigned n)
{
    r->random = r->random * 1103515245 + 12345;
    return (r->random >> 16) % n;
}

static void count_in(int user)
{
    int now = atomic_fetch_add(&borrowed[user], 1) + 1, seen = atomic_load(&most[user]);
    while (now > seen && !atomic_compare_exchange_weak(&most[user], &seen, now))
        ;
}

static void runner_use(struct runner *r);

static void runner_granted(struct server_wait *wait, struct server *s);
static void runner_failed(struct server_wait *wait, const struct error *why);

/* Loops run until all are done: what is idle in one may be wanted by another. */
static void runner_end(void)
{
    if (atomic_fetch_sub(&running, 1) > 1)
        return;
    for (int i = 0; i < THREADS; i++)
        loop_stop(threads[i].worker.loop);
}

static void runner_next(void *arg)
{
    struct runner *r = arg;
    if (r->rounds-- == 0) {
        runner_end();
        return;
    }
    struct server_pool *p = worker_pool(&r->thread->worker, users[r->user], 0);
    r->client.wait = (struct server_wait){
        .privileged = draw(r, 4) == 0, .granted = runner_granted, .failed = runner_failed, .arg = &r->client};
    r->client.server = pool_acquire(p, &r->client.wait);
    if (r->client.server) {
        runner_use(r);
    } else if (draw(r, 10) == 0) {
        pool_cancel_wait(&r->client.wait);
        loop_defer(r->thread->worker.loop, &r->next);
    }
}

static void runner_message(void *owner, struct server *s, const struct expect *e, const struct frame *f)
{
    struct runner *r = list_entry(owner, struct runner, client);
    (void)e;
    if (f->type != MSG_READY)
        return;
    struct statement_registry *registry = pool_manager_statements(r->thread->worker.manager);
    struct prepared_close evicted[2];
    atomic_fetch_sub(&borrowed[r->user], 1);
    switch (draw(r, 8)) {
    case 0:
        pool_discard(s);
        break;
    case 1:
        pool_reset_and_release(s);
        break;
    case 2: { /* as if something were prepared: DEALLOCATE ALL before it moves */
        struct statement_def *d = statement_intern(registry, 0, slice_str("SELECT 1"), 0, NULL);
        prepared_set_add(s->prepared, d, evicted);
        statement_unref(registry, &d);
        pool_release(s);
        break;
    }
    default:
        pool_release(s);
    }
    loop_defer(r->thread->worker.loop, &r->next);
}

static void runner_lost(void *owner, struct server *s, const struct error *why)
{
    (void)owner;
    (void)s;
    fprintf(stderr, "lost: %s\n", why->message);
    abort();
}

static const struct server_owner_ops runner_ops = {
    .forward = client_forward, .message = runner_message, .lost = runner_lost};

static void runner_use(struct runner *r)
{
    struct buf b;
    count_in(r->user);
    buf_init(&b);
    message_query(&b, slice_str("SELECT 1"));
    server_set_owner(r->client.server, &runner_ops, &r->client);
    server_expect(r->client.server, EXPECT_QUERY, SINK_DROP, 0, NULL);
    server_write(r->client.server, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

static void runner_granted(struct server_wait *w, struct server *s)
{
    struct client *c = w->arg;
    c->server = s;
    runner_use(list_entry(c, struct runner, client));
}

static void runner_failed(struct server_wait *w, const struct error *why)
{
    (void)w;
    fprintf(stderr, "failed: %s\n", why->message);
    abort();
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    for (int i = 0; i < t->n_runners; i++)
        loop_defer(t->worker.loop, &t->runners[i].next);
    loop_run(t->worker.loop);
    return NULL;
}

static void run_threads(const char *settings, int n_users)
{
    struct config *config = pool_config(&pg, settings, "");
    memset(threads, 0, sizeof(threads));
    atomic_store(&running, THREADS * CLIENTS * n_users);
    for (int u = 0; u < 2; u++) {
        atomic_store(&borrowed[u], 0);
        atomic_store(&most[u], 0);
    }
    for (int i = 0; i < THREADS; i++) {
        struct thread *t = &threads[i];
        worker_open(&t->worker, (unsigned)i, limits, config);
        t->n_runners = CLIENTS * n_users;
        for (int j = 0; j < t->n_runners; j++) {
            struct runner *r = &t->runners[j];
            *r = (struct runner){
                .thread = t, .user = j % n_users, .rounds = ROUNDS, .random = (unsigned)(i * 100 + j)};
            r->next = (struct deferred){.run = runner_next, .arg = r};
        }
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
    for (int i = 0; i < THREADS; i++)
        pool_manager_destroy(&threads[i].worker.manager);
    for (int i = 0; i < THREADS; i++) {
        mailbox_destroy(&threads[i].worker.mailbox);
        loop_destroy(&threads[i].worker.loop);
    }
    config_unref(&config);
}

static void threads_share_one_limit_and_all_are_served(void **state)
{
    (void)state;
    run_threads("default_pool_size = 2\nreserve_pool_size = 0", 1);
    assert_int_equal(atomic_load(&running), 0);
    assert_in_range(atomic_load(&most[0]), 1, 2);
}

static void threads_share_a_database_limit_between_users(void **state)
{
    (void)state;
    run_threads("default_pool_size = 5\nreserve_pool_size = 0\nmax_db_connections = 2", 2);
    assert_int_equal(atomic_load(&running), 0);
    assert_in_range(atomic_load(&most[0]), 1, 2);
    assert_in_range(atomic_load(&most[1]), 1, 2);
}

static int group_setup(void **state)
{
    (void)state;
    log_set_stderr(false);
    dial_init(NULL);
    pg_start(&pg);
    limits = pool_limits_create();
    alarm(300); /* a wake-up that is lost must not hang the build */
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pool_limits_destroy(&limits); /* asserts that every place was given back */
    dial_deinit();
    pg_stop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_released_goes_to_the_other_worker),
        cmocka_unit_test(prepared_statements_do_not_travel),
        cmocka_unit_test(what_is_idle_elsewhere_is_asked_for),
        cmocka_unit_test(a_place_that_becomes_free_is_taken_by_the_other_worker),
        cmocka_unit_test(other_users_connections_are_closed_across_workers),
        cmocka_unit_test(a_busy_worker_does_not_keep_everything_to_itself),
        cmocka_unit_test(privileged_waits_elsewhere_go_first),
        cmocka_unit_test(a_parcel_for_a_worker_that_has_ended_is_closed),
        cmocka_unit_test(a_server_that_nobody_wants_any_more_stays),
        cmocka_unit_test(a_reconnect_does_not_get_old_connections_from_a_worker_that_is_late),
        cmocka_unit_test(threads_share_one_limit_and_all_are_served),
        cmocka_unit_test(threads_share_a_database_limit_between_users),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
