/* net/mailbox.h: real threads; run this one under -fsanitize=thread as well */
#include "net/mailbox.h"
#include "net_test.h"
#include <pthread.h>

#define SENDERS 4
#define LETTERS 5000

struct numbered {
    struct mail mail;
    int sender, number;
};
struct receiver {
    struct loop *loop;
    struct mailbox *mb;
    int next[SENDERS];
    int total, stop_at;
    pthread_t thread;
};
struct sender {
    pthread_t thread;
    struct mailbox *mb;
    int id;
};

static void deliver(struct mail *mail, void *arg)
{
    struct numbered *n = (struct numbered *)mail;
    struct receiver *r = arg;
    assert_true(pthread_equal(pthread_self(), r->thread));
    assert_int_equal(n->number, r->next[n->sender]);
    r->next[n->sender]++;
    free(n);
    if (++r->total == r->stop_at)
        loop_stop(r->loop);
}

static void post(struct mailbox *mb, int sender, int number)
{
    struct numbered *n = calloc(1, sizeof(*n));
    n->mail.deliver = deliver;
    n->sender = sender;
    n->number = number;
    mailbox_post(mb, &n->mail);
}

static void *send_mails(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++)
        post(s->mb, s->id, i);
    return NULL;
}

static struct receiver receiver_create(int stop_at)
{
    return (struct receiver){
        .loop = loop_create(poller_of_test), .stop_at = stop_at, .thread = pthread_self()};
}

static void all_letters_arrive_in_each_senders_order(void **state)
{
    (void)state;
    struct receiver r = receiver_create(SENDERS * LETTERS);
    r.mb = mailbox_create(r.loop, &r);
    struct sender s[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){.mb = r.mb, .id = i};
        pthread_create(&s[i].thread, NULL, send_mails, &s[i]);
    }
    loop_run(r.loop);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(r.next[i], LETTERS);
    }
    mailbox_destroy(&r.mb);
    assert_null(r.mb);
    loop_destroy(&r.loop);
}

/* Every mail waits for the answer to the one before, so that each needs a wake-up of its own. */
struct ball {
    struct mail mail;
    struct mailbox *to[2];
    struct loop *loops[2];
    int bounces;
};

static void bounce(struct mail *mail, void *receiver)
{
    struct ball *b = (struct ball *)mail;
    (void)receiver;
    if (++b->bounces < 2000) {
        mailbox_post(b->to[b->bounces % 2], &b->mail);
    } else {
        struct loop *loops[2] = {b->loops[0], b->loops[1]};
        loop_stop(loops[0]);
        loop_stop(loops[1]);
    }
}

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    struct ball ball = {.mail.deliver = bounce};
    for (int i = 0; i < 2; i++) {
        ball.loops[i] = loop_create(poller_of_test);
        ball.to[i] = mailbox_create(ball.loops[i], NULL);
    }
    pthread_t t;
    pthread_create(&t, NULL, run_loop, ball.loops[1]);
    mailbox_post(ball.to[0], &ball.mail);
    loop_run(ball.loops[0]);
    pthread_join(t, NULL);
    assert_int_equal(ball.bounces, 2000);
    for (int i = 0; i < 2; i++) {
        mailbox_destroy(&ball.to[i]);
        loop_destroy(&ball.loops[i]);
    }
}

static void destroy_delivers_what_is_left(void **state)
{
    (void)state;
    struct receiver r = receiver_create(-1);
    r.mb = mailbox_create(r.loop, &r);
    for (int i = 0; i < 3; i++)
        post(r.mb, 0, i);
    assert_int_equal(r.total, 0);
    mailbox_destroy(&r.mb);
    assert_int_equal(r.total, 3);
    loop_destroy(&r.loop);
}

static void deliver_and_destroy(struct mail *mail, void *arg)
{
    struct receiver *r = arg;
    free(mail);
    assert_int_equal(r->total, 0);
    mailbox_destroy(&r->mb);
    assert_int_equal(r->total, 2); /* those behind this one, in order */
    loop_stop(r->loop);
}

static void mailbox_may_be_destroyed_by_a_letter(void **state)
{
    (void)state;
    struct receiver r = receiver_create(-1);
    r.mb = mailbox_create(r.loop, &r);
    struct mail *last = calloc(1, sizeof(*last));
    last->deliver = deliver_and_destroy;
    mailbox_post(r.mb, last);
    post(r.mb, 0, 0);
    post(r.mb, 0, 1);
    loop_run(r.loop);
    assert_null(r.mb);
    loop_destroy(&r.loop);
}

struct echo {
    struct mail mail;
    int rounds;
};

static void deliver_echo(struct mail *mail, void *arg)
{
    struct echo *e = (struct echo *)mail;
    struct receiver *r = arg;
    if (++e->rounds < 10)
        mailbox_post(r->mb, mail);
    else
        loop_stop(r->loop);
}

static void mail_to_oneself_waits_for_the_next_turn(void **state)
{
    (void)state;
    struct receiver r = receiver_create(-1);
    struct echo e = {.mail.deliver = deliver_echo};
    r.mb = mailbox_create(r.loop, &r);
    mailbox_post(r.mb, &e.mail);
    run_turns(r.loop, 2);
    assert_int_equal(e.rounds, 2);
    loop_run(r.loop);
    assert_int_equal(e.rounds, 10);
    mailbox_destroy(&r.mb);
    loop_destroy(&r.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_letters_arrive_in_each_senders_order),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(destroy_delivers_what_is_left),
        cmocka_unit_test(mailbox_may_be_destroyed_by_a_letter),
        cmocka_unit_test(mail_to_oneself_waits_for_the_next_turn),
    };
    alarm(60);
    return run_on_each_poller(tests, NULL, NULL);
}
