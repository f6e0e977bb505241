/* TLS contexts (OpenSSL). Immutable once created, shared by threads, replaced whole on reload. */
#ifndef PGUNISON_NET_TLS_H
#define PGUNISON_NET_TLS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

struct tls_context;

/* What a listener offers to clients. Paths may be NULL where optional. */
struct tls_server_options {
    const char *cert_file, *key_file;
    const char *ca_file;      /* verify client certificates against this, when set */
    bool require_client_cert; /* client_tls_sslmode = verify-ca / verify-full */
    const char *ciphers;   /* an OpenSSL cipher list, or "default", "secure", "normal", "fast" (all four, and
                              NULL: OpenSSL's default), "all" */
    const char *protocols; /* "secure", "all", or a comma-separated list of tlsv1.x; NULL: secure */
};

struct tls_context *tls_server_context_create(const struct tls_server_options *options,
                                              struct error *error_r) MUST_CHECK;
/* For another connection to the server of an established one (an SSL *, which the context keeps alive): the same roots,
   verification of the peer, certificate of ours, versions and name of the server. To be used on that one's thread. */
struct tls_context *tls_client_context_create(void *established);
void tls_context_destroy(struct tls_context **ctx); /* streams that use it keep it alive */

struct stream;
/* The common name of the peer's verified certificate, or false when there is none. */
bool tls_peer_common_name(const struct stream *stream, char *buf, size_t size);

/* Whether the peer is the one of the connection that the client's context was made of: it shows the same certificate, or
   one (the server's was replaced since) that is made out to `name`, a host's name or address. */
bool tls_peer_is_the_same(const struct stream *stream, const struct tls_context *ctx, const char *name);

/* Once, before anything else of OpenSSL. Its state then lives as long as the process: a helper thread may still compute when
   the process ends, and OpenSSL's own clearing up at exit would take the state from under it. */
void tls_init_process(void);

#endif
