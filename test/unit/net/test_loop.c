/* net/loop.h: turns, deferred work, doomed objects, timers, watches, signals */
#include "base/clock.h"
#include "net_test.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static struct loop *loop;
static char trace[256];

static int setup(void **state)
{
    (void)state;
    loop = loop_create(poller_of_test);
    trace[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return loop == NULL ? 0 : -1;
}

static void note(void *arg)
{
    strcat(trace, arg);
}

/* ---- deferred ---- */

static struct deferred first, second, third;

static void defer_second_and_third(void *arg)
{
    note(arg);
    loop_defer(loop, &second);
    loop_defer(loop, &second);
    loop_defer(loop, &third);
    loop_undefer(loop, &third);
    loop_undefer(loop, &third);
}

static void deferred_runs_once_and_may_defer_others_in_the_same_turn(void **state)
{
    (void)state;
    first = (struct deferred){.run = defer_second_and_third, .arg = "1"};
    second = (struct deferred){.run = note, .arg = "2"};
    third = (struct deferred){.run = note, .arg = "3"};
    loop_defer(loop, &first);
    loop_defer(loop, &first);
    run_turns(loop, 1); /* the countdown runs between first and second, and the turn is completed */
    assert_string_equal(trace, "12");
    run_turns(loop, 3);
    assert_string_equal(trace, "12");
}

static int ping_pongs;
static void ping(void *arg)
{
    loop_defer(loop, arg);
    if (++ping_pongs == 1000)
        loop_stop(loop);
}

/* Two that defer each other for ever do not keep a watch from its descriptor. */
static void byte_came(void *arg, int what)
{
    (void)what;
    *(int *)arg = 1;
    loop_stop(loop);
}

static void endless_deferring_does_not_starve_io(void **state)
{
    (void)state;
    int fds[2], came = 0;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    struct loop_watch *w = loop_watch_create(loop, fds[0], byte_came, &came);
    assert_true(loop_watch_set(w, WATCH_READ));
    ping_pongs = 0;
    first = (struct deferred){.run = ping, .arg = &second};
    second = (struct deferred){.run = ping, .arg = &first};
    loop_defer(loop, &first);
    loop_run(loop);
    assert_int_equal(came, 1);
    assert_in_range(ping_pongs, 1, 4);
    loop_undefer(loop, &first);
    loop_undefer(loop, &second);
    loop_watch_destroy(&w);
    close(fds[0]);
    close(fds[1]);
}

/* ---- doomed ---- */

static void free_and_note(void *p)
{
    strcat(trace, p);
    free(p);
}

static void doom_and_note(void *arg)
{
    (void)arg;
    loop_doom(loop, strdup("d"), free_and_note);
    loop_doom(loop, malloc(10), NULL);
    strcat(trace, "r");
}

static void doomed_outlive_the_deferred_work_of_their_turn(void **state)
{
    (void)state;
    first = (struct deferred){.run = doom_and_note};
    second = (struct deferred){.run = note, .arg = "2"};
    loop_defer(loop, &first);
    loop_defer(loop, &second);
    run_turns(loop, 1);
    assert_string_equal(trace, "r2d");
}

static void doomed_die_with_the_loop_at_the_latest(void **state)
{
    (void)state;
    doom_and_note(NULL);
    loop_destroy(&loop);
    assert_string_equal(trace, "rd");
}

/* ---- stop ---- */

static void *stop_from_thread(void *arg)
{
    loop_stop(arg);
    return NULL;
}

static void stop_from_another_thread_wakes_the_loop(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) { /* before, during and after the loop begins to wait */
        pthread_t t;
        pthread_create(&t, NULL, stop_from_thread, loop);
        loop_run(loop);
        pthread_join(t, NULL);
    }
}

static void stop_before_run_is_kept(void **state)
{
    (void)state;
    loop_stop(loop);
    loop_run(loop);
}

/* ---- time and timers ---- */

static uint64_t seen_now[2];
static void look_at_clock_twice(void *arg)
{
    (void)arg;
    seen_now[0] = loop_now_us(loop);
    for (uint64_t until = clock_monotonic_us() + 50; clock_monotonic_us() < until;)
        ;
    seen_now[1] = loop_now_us(loop);
}

static void time_stands_still_within_a_turn(void **state)
{
    (void)state;
    first = (struct deferred){.run = look_at_clock_twice};
    loop_defer(loop, &first);
    run_turns(loop, 1);
    assert_true(seen_now[0] == seen_now[1]);
    assert_true(loop_now_us(loop) > seen_now[1]);
}

struct alarm_clock {
    struct loop_timer *timer;
    const char *name;
    uint64_t due_us;
    bool last;
};

static void alarm_fired(void *arg)
{
    struct alarm_clock *a = arg;
    assert_true(loop_now_us(loop) >= a->due_us);
    assert_false(loop_timer_pending(a->timer));
    strcat(trace, a->name);
    if (a->last)
        loop_stop(loop);
}

static void start(struct alarm_clock *a, uint64_t after_us)
{
    loop_timer_start(a->timer, after_us);
    a->due_us =
        loop_now_us(loop) + after_us - (after_us ? 100 : 0); /* now may have moved between the two calls */
    assert_true(loop_timer_pending(a->timer));
}

static void timers_fire_in_order_and_never_early(void **state)
{
    (void)state;
    struct alarm_clock a[5] = {
        {.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}, {.name = "e", .last = true}};
    for (int i = 0; i < 5; i++)
        a[i].timer = loop_timer_create(loop, alarm_fired, &a[i]);
    start(&a[0], 12000);
    start(&a[1], 2000);
    start(&a[2], 1000);
    start(&a[3], 500000);
    start(&a[4], 40000);
    start(&a[0], 6000);  /* sooner */
    start(&a[1], 12000); /* later: the event that is scheduled comes too early */
    start(&a[2], 0);
    start(&a[3], 5000);
    loop_timer_stop(a[3].timer);
    assert_false(loop_timer_pending(a[3].timer));
    loop_run(loop);
    assert_string_equal(trace, "cabe");
    for (int i = 0; i < 5; i++)
        loop_timer_destroy(&a[i].timer);
}

/* The loop comes late: both are due, and the one that was put off is the later one. */
static void late_timers_fire_in_order(void **state)
{
    (void)state;
    struct alarm_clock a[3] = {{.name = "a"}, {.name = "b"}, {.name = "c", .last = true}};
    for (int i = 0; i < 3; i++)
        a[i].timer = loop_timer_create(loop, alarm_fired, &a[i]);
    start(&a[0], 100);
    start(&a[1], 200);
    start(&a[0], 1000);
    start(&a[2], 1200);
    for (uint64_t until = clock_monotonic_us() + 1500; clock_monotonic_us() < until;)
        ;
    loop_run(loop);
    assert_string_equal(trace, "bac");
    for (int i = 0; i < 3; i++)
        loop_timer_destroy(&a[i].timer);
}

static void stopped_timer_can_be_started_again(void **state)
{
    (void)state;
    struct alarm_clock a = {.name = "a", .last = true};
    a.timer = loop_timer_create(loop, alarm_fired, &a);
    start(&a, 1000);
    loop_timer_stop(a.timer);
    start(&a, 8000);
    loop_run(loop);
    assert_string_equal(trace, "a");
    loop_timer_start(a.timer, UINT64_MAX);
    assert_true(loop_timer_pending(a.timer));
    run_turns(loop, 3);
    assert_string_equal(trace, "a");
    start(&a, 0);
    loop_run(loop);
    assert_string_equal(trace, "aa");
    loop_timer_destroy(&a.timer);
    assert_null(a.timer);
}

static void destroy_own_timer(void *arg)
{
    struct alarm_clock *a = arg;
    loop_timer_destroy(&a->timer);
    loop_stop(loop);
}

static void timer_may_be_destroyed_in_its_callback(void **state)
{
    (void)state;
    struct alarm_clock a = {0};
    a.timer = loop_timer_create(loop, destroy_own_timer, &a);
    loop_timer_start(a.timer, 0);
    loop_run(loop);
    assert_null(a.timer);
}

/* Starts itself anew, due at once, over and over. */
static void restless(void *arg)
{
    struct alarm_clock *a = arg;
    loop_timer_start(a->timer, 0);
    if (strlen(trace) < sizeof trace - 2)
        strcat(trace, "r");
}

static void timer_that_restarts_itself_does_not_starve_io(void **state)
{
    (void)state;
    int fds[2], came = 0;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    struct loop_watch *w = loop_watch_create(loop, fds[0], byte_came, &came);
    struct alarm_clock a = {0};
    a.timer = loop_timer_create(loop, restless, &a);
    loop_timer_start(a.timer, 0);
    while (!trace[0])
        run_turns(loop, 1);
    assert_true(loop_watch_set(w, WATCH_READ));
    loop_run(loop);
    assert_int_equal(came, 1);
    loop_timer_destroy(&a.timer);
    loop_watch_destroy(&w);
    close(fds[0]);
    close(fds[1]);
}

/* Of two that are due in the same turn, the first stops, destroys or starts the second. */
static struct alarm_clock victim;
enum meddling { STOPS, DESTROYS, STARTS_LATER };
static enum meddling meddling;

static void meddle(void *arg)
{
    (void)arg;
    strcat(trace, "m");
    if (meddling == STOPS)
        loop_timer_stop(victim.timer);
    else if (meddling == DESTROYS)
        loop_timer_destroy(&victim.timer);
    else
        start(&victim, 3000);
}

static void a_due_timer_can_still_be_stopped_destroyed_or_moved(void **state)
{
    (void)state;
    for (meddling = STOPS; meddling <= STARTS_LATER; meddling++) {
        trace[0] = '\0';
        victim = (struct alarm_clock){.name = "v"};
        victim.timer = loop_timer_create(loop, alarm_fired, &victim);
        struct alarm_clock last = {.name = "l", .last = true};
        last.timer = loop_timer_create(loop, alarm_fired, &last);
        struct loop_timer *meddler = loop_timer_create(loop, meddle, NULL);
        loop_timer_start(meddler, 0);
        start(&victim, 0);
        start(&last, 6000);
        for (uint64_t until = clock_monotonic_us() + 50; clock_monotonic_us() < until;)
            ; /* both are due before the loop looks */
        loop_run(loop);
        assert_string_equal(trace, meddling == STARTS_LATER ? "mvl" : "ml");
        loop_timer_destroy(&meddler);
        loop_timer_destroy(&victim.timer);
        loop_timer_destroy(&last.timer);
    }
}

#define MANY 500
static struct alarm_clock many[MANY];
static int fired;
static uint64_t fired_due_us;

static void one_of_many(void *arg)
{
    struct alarm_clock *a = arg;
    assert_true(loop_now_us(loop) >= a->due_us);
    assert_true(a->due_us >= fired_due_us || loop_now_us(loop) > fired_due_us);
    fired_due_us = a->due_us;
    fired++;
    if (a->last)
        loop_stop(loop);
}

static void many_timers_started_moved_and_destroyed_at_random(void **state)
{
    (void)state;
    unsigned seed = 20251123;
    int expected = 0;
    fired = 0;
    fired_due_us = 0;
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct alarm_clock){0};
        many[i].timer = loop_timer_create(loop, one_of_many, &many[i]);
    }
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < MANY; i++)
            if (rand_r(&seed) % 3)
                start(&many[i], (uint64_t)(rand_r(&seed) % 20000));
    for (int i = 0; i < MANY; i += 7)
        loop_timer_destroy(&many[i].timer);
    for (int i = 1; i < MANY; i += 7)
        loop_timer_stop(many[i].timer);
    for (int i = 0; i < MANY; i++)
        expected += many[i].timer && loop_timer_pending(many[i].timer);
    struct alarm_clock end = {.last = true};
    end.timer = loop_timer_create(loop, one_of_many, &end);
    start(&end, 30000);
    loop_run(loop);
    assert_int_equal(fired, expected + 1);
    for (int i = 0; i < MANY; i++)
        loop_timer_destroy(&many[i].timer);
    loop_timer_destroy(&end.timer);
}

/* Nothing else wakes this loop: were the alarm set to the wrong time once, it would sleep for ever. */
static struct {
    struct loop_timer *timer, *decoys[3];
    unsigned seed;
    int left;
} chain;

static void decoy_fired(void *arg)
{
    struct loop_timer **own = arg;
    if (rand_r(&chain.seed) % 2)
        loop_timer_start(*own, (uint64_t)(rand_r(&chain.seed) % 100));
}

static void next_link(void *arg)
{
    (void)arg;
    if (--chain.left == 0) {
        loop_stop(loop);
        return;
    }
    for (int i = 0; i < 6; i++) {
        struct loop_timer **decoy = &chain.decoys[rand_r(&chain.seed) % 3];
        switch (rand_r(&chain.seed) % 4) {
        case 0:
            loop_timer_stop(*decoy);
            break;
        case 1:
            loop_timer_destroy(decoy);
            *decoy = loop_timer_create(loop, decoy_fired, decoy);
            break;
        default:
            loop_timer_start(*decoy, (uint64_t)(rand_r(&chain.seed) % 400));
        }
        if (i == 3)
            loop_timer_start(chain.timer, (uint64_t)(rand_r(&chain.seed) % 200));
    }
}

static void no_time_is_missed_when_timers_start_stop_and_destroy_others(void **state)
{
    (void)state;
    chain.seed = 20261123;
    chain.left = 5000;
    chain.timer = loop_timer_create(loop, next_link, NULL);
    for (int i = 0; i < 3; i++)
        chain.decoys[i] = loop_timer_create(loop, decoy_fired, &chain.decoys[i]);
    loop_timer_start(chain.timer, 0);
    loop_run(loop);
    assert_int_equal(chain.left, 0);
    loop_timer_destroy(&chain.timer);
    for (int i = 0; i < 3; i++)
        loop_timer_destroy(&chain.decoys[i]);
}

/* ---- watches ---- */

struct watcher {
    struct loop_watch *watch;
    int seen, calls;
    bool destroy;
};

static void watch_ready(void *arg, int what)
{
    struct watcher *w = arg;
    w->seen |= what;
    w->calls++;
    if (w->destroy)
        loop_watch_destroy(&w->watch);
}

static void watch_reports_what_it_was_set_to(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct watcher w = {0};
    w.watch = loop_watch_create(loop, fds[0], watch_ready, &w);
    run_turns(loop, 2);
    assert_int_equal(w.calls, 0);
    assert_true(loop_watch_set(w.watch, WATCH_READ));
    run_turns(loop, 2);
    assert_int_equal(w.calls, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    run_turns(loop, 2);
    assert_int_equal(w.seen, WATCH_READ);
    w.seen = 0;
    assert_true(loop_watch_set(w.watch, WATCH_WRITE));
    run_turns(loop, 2);
    assert_int_equal(w.seen, WATCH_WRITE);
    assert_true(loop_watch_set(w.watch, WATCH_READ | WATCH_WRITE));
    run_turns(loop, 2);
    assert_int_equal(w.seen, WATCH_READ | WATCH_WRITE);
    assert_true(loop_watch_set(w.watch, 0));
    int calls = w.calls;
    run_turns(loop, 2);
    assert_int_equal(w.calls, calls);

    w.destroy = true; /* both are ready: after the first report there is no second */
    assert_true(loop_watch_set(w.watch, WATCH_READ | WATCH_WRITE));
    run_turns(loop, 3);
    assert_int_equal(w.calls, calls + 1);
    assert_null(w.watch);
    close(fds[0]);
    close(fds[1]);
}

/* As libpq does when it tries the next host. */
static void watch_can_be_set_again_after_the_socket_was_replaced(void **state)
{
    (void)state;
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    struct watcher w = {0};
    w.watch = loop_watch_create(loop, a[0], watch_ready, &w);
    assert_true(loop_watch_set(w.watch, WATCH_READ));
    assert_int_equal(dup2(b[0], a[0]), a[0]);
    close(b[0]);
    assert_true(loop_watch_set(w.watch, WATCH_READ));
    assert_int_equal(write(b[1], "x", 1), 1);
    run_turns(loop, 2);
    assert_int_equal(w.seen, WATCH_READ);
    loop_watch_destroy(&w.watch);
    close(a[0]);
    close(a[1]);
    close(b[1]);
}

/* Of two that are ready in the same turn, the first destroys the second. */
static struct watcher pair[2];

static void destroy_the_other(void *arg, int what)
{
    (void)what;
    struct watcher *w = arg;
    w->calls++;
    loop_watch_destroy(&pair[w == &pair[0]].watch);
}

static void a_destroyed_watch_does_not_hear_of_what_was_received_already(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        pair[i] = (struct watcher){0};
        pair[i].watch = loop_watch_create(loop, fds[i], destroy_the_other, &pair[i]);
        assert_true(loop_watch_set(pair[i].watch, WATCH_WRITE));
    }
    run_turns(loop, 1);
    assert_int_equal(pair[0].calls + pair[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        loop_watch_destroy(&pair[i].watch);
        close(fds[i]);
    }
}

/* ... or gives it another socket under the same number, which is not ready. */
static int quiet[2];

static void replace_the_other(void *arg, int what)
{
    (void)what;
    struct watcher *w = arg;
    struct watcher *other = &pair[w == &pair[0]];
    w->calls++;
    if (!other->destroy)
        return;
    assert_int_equal(dup2(quiet[0], other->seen), other->seen);
    assert_true(loop_watch_set(other->watch, WATCH_READ));
    assert_true(loop_watch_set(w->watch, 0));
    w->destroy = false;
}

static void a_new_socket_is_not_ready_because_the_old_one_was(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, quiet), 0);
    assert_int_equal(write(fds[0], "x", 1), 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) {
        pair[i] = (struct watcher){.seen = fds[i], .destroy = true};
        pair[i].watch = loop_watch_create(loop, fds[i], replace_the_other, &pair[i]);
        assert_true(loop_watch_set(pair[i].watch, WATCH_READ));
    }
    run_turns(loop, 3);
    assert_int_equal(pair[0].calls + pair[1].calls, 1);
    assert_int_equal(write(quiet[1], "x", 1), 1);
    run_turns(loop, 1);
    assert_int_equal(pair[0].calls + pair[1].calls, 2);
    for (int i = 0; i < 2; i++) {
        loop_watch_destroy(&pair[i].watch);
        close(fds[i]);
        close(quiet[i]);
    }
}

static void a_hang_up_is_reported_as_what_was_waited_for(void **state)
{
    (void)state;
    int fds[2];
    for (int what = WATCH_READ; what <= WATCH_WRITE; what++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        close(fds[1]);
        struct watcher w = {.destroy = true};
        w.watch = loop_watch_create(loop, fds[0], watch_ready, &w);
        assert_true(loop_watch_set(w.watch, what));
        run_turns(loop, 1);
        assert_int_equal(w.seen, what);
        close(fds[0]);
    }
}

/* ---- signals ---- */

static void got_signal(void *arg, int signo)
{
    *(int *)arg = signo;
    loop_stop(loop);
}

static void signals_are_ordinary_callbacks(void **state)
{
    (void)state;
    int got = 0;
    struct loop_signal *s = loop_signal_create(loop, SIGUSR1, got_signal, &got);
    raise(SIGUSR1);
    assert_int_equal(got, 0);
    loop_run(loop);
    assert_int_equal(got, SIGUSR1);
    loop_signal_destroy(&s);
    assert_null(s);
}

static void a_new_watch_does_not_hear_of_signals_before_it(void **state)
{
    (void)state;
    int first_got = 0, got = 0;
    struct loop_signal *s = loop_signal_create(loop, SIGUSR1, got_signal, &first_got);
    struct loop_signal *other = loop_signal_create(loop, SIGUSR2, got_signal, &got);
    raise(SIGUSR1);
    loop_signal_destroy(&s);
    s = loop_signal_create(loop, SIGUSR1, got_signal, &first_got);
    run_turns(loop, 2);
    assert_int_equal(first_got, 0);
    raise(SIGUSR2);
    loop_run(loop);
    assert_int_equal(got, SIGUSR2);
    assert_int_equal(first_got, 0);
    loop_signal_destroy(&s);
    loop_signal_destroy(&other);
}

static void writing_to_a_closed_pipe_is_an_error_not_a_signal(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    close(fds[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deferred_runs_once_and_may_defer_others_in_the_same_turn),
        T(endless_deferring_does_not_starve_io),
        T(doomed_outlive_the_deferred_work_of_their_turn),
        T(doomed_die_with_the_loop_at_the_latest),
        T(stop_from_another_thread_wakes_the_loop),
        T(stop_before_run_is_kept),
        T(time_stands_still_within_a_turn),
        T(timers_fire_in_order_and_never_early),
        T(late_timers_fire_in_order),
        T(stopped_timer_can_be_started_again),
        T(timer_may_be_destroyed_in_its_callback),
        T(timer_that_restarts_itself_does_not_starve_io),
        T(a_due_timer_can_still_be_stopped_destroyed_or_moved),
        T(many_timers_started_moved_and_destroyed_at_random),
        T(no_time_is_missed_when_timers_start_stop_and_destroy_others),
        T(watch_reports_what_it_was_set_to),
        T(a_destroyed_watch_does_not_hear_of_what_was_received_already),
        T(a_new_socket_is_not_ready_because_the_old_one_was),
        T(a_hang_up_is_reported_as_what_was_waited_for),
        T(watch_can_be_set_again_after_the_socket_was_replaced),
        T(signals_are_ordinary_callbacks),
        T(a_new_watch_does_not_hear_of_signals_before_it),
        T(writing_to_a_closed_pipe_is_an_error_not_a_signal),
    };
    alarm(60);
    return run_on_each_poller(tests, NULL, NULL);
}
