/*
 * How a question goes from thread to thread (question.h), and how it ends.
 *
 * Invariant: a question is in its home's list from its first step to its end, whatever thread has it. Once the
 * admin is closed, no message is passed on any more: the thread that has a question drops it, and questions_free()
 * frees it by its list.
 */
#include "question.h"

#include "base/arena.h"

#include <stdlib.h>

static void post(struct question *q, struct mailbox *to, void (*deliver)(struct mail *mail, void *receiver))
{
    if (atomic_load(&q->admin->closed))
        return;
    q->mail.deliver = deliver;
    mailbox_post(to, &q->mail);
}

static struct mailbox *home_mailbox(const struct question *q)
{
    return q->admin->workers[q->home].mailbox;
}

static struct question *question_of(struct mail *mail)
{
    struct question *q = list_entry(mail, struct question, mail);
    return atomic_load(&q->admin->closed) ? NULL : q;
}

static void next_deliver(struct mail *mail, void *receiver)
{
    struct question *q = question_of(mail);
    (void)receiver;
    if (q)
        q->next(q);
}

static void visit_deliver(struct mail *mail, void *receiver)
{
    struct question *q = question_of(mail);
    (void)receiver;
    if (!q)
        return;
    q->visit(q, q->admin->workers[q->at].env);
    q->at++;
    if (q->at < q->admin->n)
        post(q, q->admin->workers[q->at].mailbox, visit_deliver);
    else
        post(q, home_mailbox(q), next_deliver);
}

void question_round(struct question *q, void (*visit)(struct question *q, struct session_env *env),
                    void (*next)(struct question *q))
{
    q->visit = visit;
    q->next = next;
    q->at = 0;
    post(q, q->admin->workers[0].mailbox, visit_deliver);
}

void question_on_control(struct question *q, void (*run)(struct question *q))
{
    q->next = run;
    post(q, q->admin->control, next_deliver);
}

static void answer_deliver(struct mail *mail, void *receiver)
{
    struct question *q = question_of(mail);
    (void)receiver;
    if (q)
        question_answer(q);
}

void question_return(struct question *q)
{
    post(q, home_mailbox(q), answer_deliver);
}

void question_fail(struct question *q, const struct error *e)
{
    answer_error(&q->answer, e);
}

void *question_data(struct question *q, size_t size, void (*free_data)(void *data))
{
    if (!q->data)
        q->data = xcalloc(1, size);
    q->free_data = free_data;
    return q->data;
}

/* --- life ------------------------------------------------------------------------------------- */

struct question *question_create(struct home *home, const struct renderer *renderer,
                                 void (*answered)(void *asker, struct slice answer), void *asker)
{
    struct question *q = xcalloc(1, sizeof *q);
    q->admin = home->admin;
    q->home = home->worker;
    q->asker = asker;
    q->answered = answered;
    answer_init(&q->answer, renderer);
    list_push_back(&home->questions, &q->node);
    return q;
}

static void question_free(struct question *q)
{
    if (q->free_data)
        q->free_data(q->data);
    answer_free(&q->answer);
    free(q);
}

void question_answer(struct question *q)
{
    if (q->asker)
        q->answered(q->asker, buf_slice(&q->answer.out));
    list_remove(&q->admin->homes[q->home].questions, &q->node);
    question_free(q);
}

void question_asker_gone(struct home *home, const void *asker)
{
    list_foreach(&home->questions, node, next)
    {
        struct question *q = list_entry(node, struct question, node);
        if (q->asker == asker)
            q->asker = NULL;
    }
}

void questions_free(struct home *home)
{
    struct list_node *node;
    while ((node = list_pop_front(&home->questions)))
        question_free(list_entry(node, struct question, node));
}
