/* DNS as the control thread has it: on a thread of its own, over libevent. */
#ifndef PGUNISON_TEST_DNS_FIXTURE_H
#define PGUNISON_TEST_DNS_FIXTURE_H

#include "net/dns.h"
#include <pthread.h>

static struct {
    struct loop *loop;
    struct dns *dns;
    pthread_t thread;
} dns_service;

static void *dns_service_main(void *arg)
{
    loop_run(dns_service.loop);
    return arg;
}

static struct dns *dns_service_start(void)
{
    dns_service.loop = loop_create(POLLER_LIBEVENT);
    dns_service.dns = dns_create(dns_service.loop, DNS_HOSTS_PATH, DNS_RESOLV_PATH);
    pthread_create(&dns_service.thread, NULL, dns_service_main, NULL);
    return dns_service.dns;
}

static void dns_service_end(void)
{
    loop_stop(dns_service.loop);
    pthread_join(dns_service.thread, NULL);
    dns_destroy(&dns_service.dns);
    loop_destroy(&dns_service.loop);
}

#endif
