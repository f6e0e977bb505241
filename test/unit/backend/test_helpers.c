/* src/backend/helpers.h: errands */
#include "../loop_of_test.h"
#include "pg_fixture.h"

#include "../../../src/backend/helpers.h"
#include "backend/dial.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool no_room; /* in the kernel's interest lists: fs.epoll.max_user_watches */

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    if (no_room && op == EPOLL_CTL_ADD) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, ep, op, fd, ev);
}

/* What jobs wait for, and what is known of them. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open; /* jobs may end */
    int begun, freed;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct loop *loop;

struct load {
    int question, answer;
};

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void await(const int *count, int n)
{
    pthread_mutex_lock(&gate.lock);
    while (*count < n)
        pthread_cond_wait(&gate.changed, &gate.lock);
    assert_int_equal(*count, n);
    pthread_mutex_unlock(&gate.lock);
}

static void run_load(void *arg)
{
    struct load *l = arg;
    pthread_mutex_lock(&gate.lock);
    gate.begun++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    l->answer = l->question + 1; /* unlocked: it is errands' own business that the loop sees it */
}

static void free_load(void *arg)
{
    pthread_mutex_lock(&gate.lock);
    gate.freed++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    free(arg);
}

static const struct errand_kind asking = {HELPER_DIAL, run_load, free_load};

struct waiter {
    struct errand *errand;
    struct load *load;
    struct waiter *also_forgets; /* when it is called back */
    int answer, calls;
    int *left; /* calls until the loop is stopped */
};

static void came_back(void *arg)
{
    struct waiter *w = arg;
    w->calls++;
    w->answer = w->load->answer;
    errand_forget(&w->errand);
    assert_null(w->errand);
    if (w->also_forgets) {
        *w->left -= w->also_forgets->errand != NULL;
        errand_forget(&w->also_forgets->errand);
    }
    if (--*w->left <= 0)
        loop_stop(loop);
}

static void start(struct waiter *w, int question, int *left)
{
    struct error why;
    w->load = calloc(1, sizeof(*w->load));
    w->load->question = question;
    w->left = left;
    w->errand = errand_start(loop, &asking, w->load, came_back, w, &why);
    if (!w->errand)
        fail_msg("%s", why.message);
    assert_int_equal(w->calls, 0); /* never from inside */
}

static int begin(void **state)
{
    (void)state;
    loop = worker_loop_create();
    gate.begun = gate.freed = 0;
    gate.open = true;
    return 0;
}

static int end(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return 0;
}

static void stop_now(void *arg)
{
    loop_stop(arg);
}

static void some_turns(void)
{
    struct loop_timer *t = loop_timer_create(loop, stop_now, loop);
    loop_timer_start(t, 2000);
    run_loop(loop);
    loop_timer_destroy(&t);
}

static void a_job_that_ends_is_reported_once(void **state)
{
    (void)state;
    struct waiter w = {0};
    int left = 1;
    start(&w, 41, &left);
    run_loop(loop);
    assert_int_equal(w.answer, 42);
    some_turns();
    assert_int_equal(w.calls, 1);
    await(&gate.freed, 1);
}

static void who_gives_up_hears_nothing_and_the_load_goes_with_the_job(void **state)
{
    (void)state;
    struct waiter w = {0};
    int left = 1;
    gate_set(false);
    start(&w, 1, &left);
    await(&gate.begun, 1);
    errand_forget(&w.errand);
    assert_null(w.errand);
    errand_forget(&w.errand);
    some_turns();
    assert_int_equal(gate.freed, 0);
    gate_set(true);
    await(&gate.freed, 1);
    some_turns();
    assert_int_equal(w.calls, 0);
}

static void a_job_outlives_the_loop(void **state)
{
    (void)state;
    struct waiter w = {0};
    int left = 1;
    gate_set(false);
    start(&w, 1, &left);
    await(&gate.begun, 1);
    errand_forget(&w.errand);
    loop_destroy(&loop);
    gate_set(true);
    await(&gate.freed, 1);
    assert_int_equal(w.calls, 0);
    loop = worker_loop_create();
}

/* More than there are threads; some are given up at once, some from within another one's report. */
static void many_at_once(void **state)
{
    (void)state;
    enum { N = 300 };
    static struct waiter w[N];
    int left = 0;
    for (int i = 0; i < N; i++) {
        w[i] = (struct waiter){.also_forgets = i % 3 == 1 ? &w[i + 1] : NULL};
        start(&w[i], i, &left);
        if (i % 3 == 0)
            errand_forget(&w[i].errand);
        else
            left++;
    }
    run_loop(loop);
    await(&gate.freed, N);
    for (int i = 0; i < N; i++) {
        assert_null(w[i].errand);
        assert_in_range(w[i].calls, i % 3 == 1, i % 3 > 0);
        if (w[i].calls)
            assert_int_equal(w[i].answer, i + 1);
    }
}

static void what_cannot_be_waited_for_is_not_begun(void **state)
{
    (void)state;
    struct load l = {0};
    struct waiter w = {.load = &l};
    struct error why;
    no_room = true;
    w.errand = errand_start(loop, &asking, &l, came_back, &w, &why);
    no_room = false;
    assert_null(w.errand);
    assert_string_equal(why.sqlstate, SQLSTATE_NO_RESOURCES);
    assert_string_equal(why.message, "could not wait for a helper thread: No space left on device");
    struct waiter next = {0};
    int left = 1;
    start(&next, 1, &left);
    run_loop(loop);
    await(&gate.freed, 1);
    assert_int_equal(gate.begun, 1); /* the next one alone */
    assert_int_equal(w.calls, 0);
}

/* A dial without a timeout must not wait for ever. */
static void dialled(void *arg, struct backend_conn *conn, const struct error *why)
{
    assert_null(conn);
    *(struct error *)arg = *why;
    loop_stop(loop);
}

static void a_dial_that_cannot_wait_fails(void **state)
{
    (void)state;
    struct settings settings;
    fixture_settings(&settings);
    settings.server_connect_timeout_us = 0;
    struct shard_def shard = {.name = "s1", .host = "127.0.0.1", .port = "1", .dbname = "postgres"};
    struct dial_params params = {.shard = &shard, .settings = &settings, .user = "postgres"};
    struct error why = {0};
    no_room = true;
    (void)dial_start(loop, &params, dialled, &why);
    run_loop(loop);
    no_room = false;
    assert_string_equal(why.sqlstate, SQLSTATE_NO_RESOURCES);
    assert_string_equal(
        why.message,
        "could not connect to shard \"s1\": could not wait for its socket: No space left on device");
}

static int group_setup(void **state)
{
    (void)state;
    dial_init(NULL);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    dial_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_that_ends_is_reported_once, begin, end),
        cmocka_unit_test_setup_teardown(who_gives_up_hears_nothing_and_the_load_goes_with_the_job, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_job_outlives_the_loop, begin, end),
        cmocka_unit_test_setup_teardown(many_at_once, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_waited_for_is_not_begun, begin, end),
        cmocka_unit_test_setup_teardown(a_dial_that_cannot_wait_fails, begin, end),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
