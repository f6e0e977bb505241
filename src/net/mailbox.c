/*
 * Mailboxes: a list under a mutex, and a wakeup of the receiver's loop.
 *
 * Whoever puts a message into an empty inbox calls the wakeup; the receiver takes the whole inbox at once.
 * So, by observing the inbox under the lock: a message in it has a wake-up under way that the receiver has not
 * yet used, or it was put there behind a message that has one. A wake-up that finds nothing is possible and
 * harmless.
 *
 * Messages that a delivery posts to its own mailbox wait for the next turn.
 */
#include "net/mailbox.h"

#include "base/arena.h"
#include "loop_private.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct mailbox {
    struct loop *loop;
    void *receiver;
    struct wakeup wakeup;
    bool destroying;   /* receiver's thread only */
    struct list batch; /* taken from the inbox, being delivered; receiver's thread only */

    pthread_mutex_t lock;
    struct list inbox; /* under lock */
};

static void take_inbox(struct mailbox *mb)
{
    pthread_mutex_lock(&mb->lock);
    list_move_all(&mb->batch, &mb->inbox);
    pthread_mutex_unlock(&mb->lock);
}

static void deliver_batch(struct mailbox *mb)
{
    struct list_node *n;
    while ((n = list_pop_front(&mb->batch)) != NULL) {
        struct mail *mail = list_entry(n, struct mail, node);
        mail->deliver(mail, mb->receiver); /* the message is its receiver's now; mb may be destroyed */
    }
}

static void woken(struct wakeup *w)
{
    struct mailbox *mb = list_entry(w, struct mailbox, wakeup);
    take_inbox(mb);
    deliver_batch(
        mb); /* destroyed meanwhile: it has emptied the batch, and lives until the end of the turn */
}

struct mailbox *mailbox_create(struct loop *loop, void *receiver)
{
    struct mailbox *mb = xcalloc(1, sizeof(*mb));
    mb->loop = loop;
    mb->receiver = receiver;
    list_init(&mb->batch);
    list_init(&mb->inbox);
    pthread_mutex_init(&mb->lock, NULL);
    mb->wakeup.woken = woken;
    wakeup_open(loop->poller, &mb->wakeup);
    return mb;
}

void mailbox_post(struct mailbox *mb, struct mail *mail)
{
    pthread_mutex_lock(&mb->lock);
    bool was_empty = list_empty(&mb->inbox);
    list_push_back(&mb->inbox, &mail->node);
    pthread_mutex_unlock(&mb->lock);
    if (was_empty)
        wakeup_call(mb->wakeup.source.fd);
}

static void mailbox_free(void *p)
{
    struct mailbox *mb = p;
    pthread_mutex_destroy(&mb->lock);
    free(mb);
}

void mailbox_destroy(struct mailbox **mb_p)
{
    struct mailbox *mb = *mb_p;
    if (!mb || mb->destroying)
        return;
    mb->destroying = true;
    /* A delivery may post to this very mailbox: go on until nothing is left. */
    do {
        deliver_batch(mb);
        take_inbox(mb);
    } while (!list_empty(&mb->batch));
    *mb_p = NULL;
    wakeup_close(mb->loop->poller, &mb->wakeup);
    loop_doom(mb->loop, mb, mailbox_free);
}
