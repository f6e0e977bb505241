/*
 * DNS by evdns, on the loop of the control thread.
 *
 * A query goes to that loop and back by mailbox, and belongs to one thread at a time:
 *
 *     asked, on its way     the mailbox's
 *     looked up             the DNS's loop's
 *     answered, on its way  the mailbox's of the loop that asked
 *
 * but for `answered`, which the loop that asked sets to NULL when it forgets a query, under the lock under which the answer is sent
 * back. So either the answer lies in the mailbox of that loop by then, and the query is freed when it is delivered; or it is freed on
 * the loop of DNS, and the loop that asked is never touched again.
 *
 * Not responsible for: caching, the order of addresses (IPv4 comes first).
 */
#include "net/dns.h"

#include "base/arena.h"
#include "base/log.h"
#include "loop_private.h"
#include "net/mailbox.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file, and what it was when it was read. */
struct file {
    char *path;
    struct timespec changed;
    ino_t ino;
    off_t size;
};

struct dns {
    struct loop *loop;
    struct mailbox *mailbox;
    struct evdns_base *base;
    struct list asked; /* queries that are being looked up */
    struct file hosts, resolv;
    pthread_mutex_t lock;
};

struct dns_query {
    struct mail mail;
    struct list_node node; /* of dns->asked */
    struct dns *dns;
    struct mailbox *back; /* of the loop that asks */
    char *name;
    struct dns_answer answer;
    void (*answered)(void *arg, const struct dns_answer *answer); /* NULL: forgotten; set under dns->lock */
    void *arg;
};

static void query_free(struct dns_query *q)
{
    free(q->name);
    free(q);
}

static bool is_forgotten(struct dns_query *q)
{
    pthread_mutex_lock(&q->dns->lock);
    bool forgotten = !q->answered;
    pthread_mutex_unlock(&q->dns->lock);
    return forgotten;
}

/* ---- on the loop that asks
 * ---------------------------------------------------------------------------------- */

static void came_back(struct mail *mail, void *receiver)
{
    (void)receiver;
    struct dns_query *q = list_entry(mail, struct dns_query, mail);
    if (q->answered) {
        (void)is_forgotten(q); /* whoever has sent it leaves this loop's mailbox before the loop may go */
        q->answered(q->arg, &q->answer);
    }
    query_free(q);
}

static void arrived(struct mail *mail, void *receiver);

struct dns_query *dns_ask(struct dns *dns, struct loop *loop, const char *name,
                          void (*answered)(void *arg, const struct dns_answer *answer), void *arg)
{
    struct dns_query *q = xcalloc(1, sizeof(*q));
    q->dns = dns;
    q->back = loop->mailbox;
    q->name = xstrdup(name);
    q->answered = answered;
    q->arg = arg;
    q->mail.deliver = arrived;
    mailbox_post(dns->mailbox, &q->mail);
    return q;
}

void dns_forget(struct dns_query **query)
{
    struct dns_query *q = *query;
    *query = NULL;
    if (!q)
        return;
    struct dns *dns = q->dns;
    pthread_mutex_lock(&dns->lock);
    q->answered = NULL; /* it may be freed from now on */
    pthread_mutex_unlock(&dns->lock);
}

/* ---- on the loop of DNS
 * ------------------------------------------------------------------------------------- */

static void send_back(struct dns_query *q)
{
    struct dns *dns = q->dns;
    q->mail.deliver = came_back;
    pthread_mutex_lock(&dns->lock);
    bool forgotten = !q->answered;
    if (!forgotten)
        mailbox_post(q->back, &q->mail);
    pthread_mutex_unlock(&dns->lock);
    if (forgotten)
        query_free(q);
}

static void take_addresses(struct dns_answer *answer, const struct evutil_addrinfo *found)
{
    for (const struct evutil_addrinfo *a = found; a && answer->n < DNS_MAX_ADDRESSES; a = a->ai_next)
        if (getnameinfo(a->ai_addr, (socklen_t)a->ai_addrlen, answer->addresses[answer->n], DNS_ADDRESS_BYTES,
                        NULL, 0, NI_NUMERICHOST) == 0)
            answer->n++;
}

static void looked_up(int result, struct evutil_addrinfo *found, void *arg)
{
    struct dns_query *q = arg;
    if (result == 0)
        take_addresses(&q->answer, found);
    if (q->answer.n == 0)
        snprintf(q->answer.why, sizeof(q->answer.why), "%s",
                 result ? evutil_gai_strerror(result) : "it has no address");
    if (found)
        evutil_freeaddrinfo(found);
    list_remove(&q->dns->asked, &q->node);
    send_back(q);
}

/* Whether it is another than what was read. */
static bool has_changed(struct file *f)
{
    struct stat st;
    struct file now = {.path = f->path};
    if (stat(f->path, &st) == 0) {
        now.changed = st.st_mtim;
        now.ino = st.st_ino;
        now.size = st.st_size;
    }
    if (now.changed.tv_sec == f->changed.tv_sec && now.changed.tv_nsec == f->changed.tv_nsec &&
        now.ino == f->ino && now.size == f->size)
        return false;
    *f = now;
    return true;
}

/* A file that is there could not be read, or no socket be opened for what it names: descriptors are scarce, it may be. The next
   query tries again. */
static void read_again(struct file *f)
{
    if (f->size > 0)
        f->size = -1;
}

static void read_files(struct dns *dns)
{
    if (has_changed(&dns->hosts)) {
        evdns_base_clear_host_addresses(dns->base);
        if (evdns_base_load_hosts(dns->base, dns->hosts.path) != 0) /* without a file it knows localhost */
            read_again(&dns->hosts);
    }
    if (has_changed(&dns->resolv)) {
        (void)evdns_base_clear_nameservers_and_suspend(dns->base);
        evdns_base_search_clear(dns->base);
        /* Without a file, or any server in it, it asks this machine, as resolv.conf(5) has it. */
        if (evdns_base_resolv_conf_parse(dns->base, DNS_OPTIONS_ALL & ~DNS_OPTION_HOSTSFILE,
                                         dns->resolv.path) != 0 ||
            evdns_base_count_nameservers(dns->base) == 0)
            read_again(&dns->resolv);
        (void)evdns_base_resume(dns->base);
    }
}

static void arrived(struct mail *mail, void *receiver)
{
    struct dns *dns = receiver;
    struct dns_query *q = list_entry(mail, struct dns_query, mail);
    if (is_forgotten(q)) {
        query_free(q);
        return;
    }
    read_files(dns);
    list_push_back(&dns->asked, &q->node);
    const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    (void)evdns_getaddrinfo(dns->base, q->name, NULL, &hints, looked_up, q); /* may call it at once */
}

static void log_dns(int is_warning, const char *message)
{
    (void)is_warning; /* a server that does not answer is one of several, mostly */
    log_debug("DNS: %s", message);
}

struct dns *dns_create(struct loop *loop, const char *hosts_path, const char *resolv_path)
{
    struct dns *dns = xcalloc(1, sizeof(*dns));
    dns->loop = loop;
    list_init(&dns->asked);
    pthread_mutex_init(&dns->lock, NULL);
    dns->hosts = (struct file){.path = xstrdup(hosts_path), .size = -1}; /* not read yet */
    dns->resolv = (struct file){.path = xstrdup(resolv_path), .size = -1};
    evdns_set_log_fn(log_dns);
    dns->base = evdns_base_new(poller_event_base(loop->poller), 0);
    if (!dns->base) {
        log_error("could not prepare for DNS"); /* as the poller, before anything was started */
        abort();
    }
    dns->mailbox = mailbox_create(loop, dns);
    read_files(dns);
    return dns;
}

/* evdns reports what it gives up in the next turn of its base. */
void dns_destroy(struct dns **dns_p)
{
    struct dns *dns = *dns_p;
    if (!dns)
        return;
    *dns_p = NULL;
    mailbox_destroy(&dns->mailbox);
    evdns_base_free(dns->base, 1);
    while (!list_empty(&dns->asked))
        dns->loop->poller->kind->deliver(dns->loop->poller, false);
    pthread_mutex_destroy(&dns->lock);
    free(dns->hosts.path);
    free(dns->resolv.path);
    free(dns);
}
