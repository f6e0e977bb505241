/*
 * Addresses of hosts' names, without blocking anybody: one asks on its loop, for all loops of the process.
 *
 * /etc/hosts and /etc/resolv.conf (servers, search list, timeouts) are honoured, and read anew when they have changed; nsswitch.conf is
 * not. An answer has to fit a UDP packet of 512 bytes. Nothing is kept: whoever asks anew hears of a new address.
 */
#ifndef PGUNISON_NET_DNS_H
#define PGUNISON_NET_DNS_H

#include "net/loop.h"

#define DNS_MAX_ADDRESSES 16
#define DNS_ADDRESS_BYTES 64

struct dns_answer {
    char addresses[DNS_MAX_ADDRESSES][DNS_ADDRESS_BYTES]; /* numeric */
    int n;
    char why[128]; /* n == 0: what went wrong */
};

/* Reads files like /etc/hosts and /etc/resolv.conf. On a loop over libevent, whose thread alone may create and destroy it. It is to be destroyed
   before that loop, when every query has been answered or forgotten and nobody can ask any more. */
struct dns;
struct dns *dns_create(struct loop *loop, const char *hosts_path, const char *resolv_path);
#define DNS_HOSTS_PATH  "/etc/hosts"
#define DNS_RESOLV_PATH "/etc/resolv.conf"
void dns_destroy(struct dns **dns);

/* From the thread of any loop. Calls answered() once, from that loop, never from inside this call; the query is gone when that
   returns. The answer lives as long as the call. */
struct dns_query;
struct dns_query *dns_ask(struct dns *dns, struct loop *loop, const char *name,
                          void (*answered)(void *arg, const struct dns_answer *answer), void *arg);
/* answered() is not called any more, and nothing is sent to the loop, which may go. NULL is fine. */
void dns_forget(struct dns_query **query);

#endif
