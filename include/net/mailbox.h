/*
 * Messages between threads. mailbox_post() may be called by any thread and never blocks longer than a list
 * insertion; delivery is on the receiving loop's thread, in the order of each sender. One wake-up (eventfd)
 * serves all messages posted before the receiver looks.
 */
#ifndef PGUNISON_NET_MAILBOX_H
#define PGUNISON_NET_MAILBOX_H

#include "base/list.h"
#include "net/loop.h"

struct mailbox;
/* Embed as a member; the message belongs to the mailbox until deliver() is called with it. */
struct mail {
    struct list_node node;
    void (*deliver)(struct mail *mail, void *receiver);
};

struct mailbox *mailbox_create(struct loop *loop, void *receiver);
void mailbox_post(struct mailbox *mb, struct mail *mail);
/* Only when no thread can post any more. Undelivered messages are delivered first. */
void mailbox_destroy(struct mailbox **mb);

#endif
