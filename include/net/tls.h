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
void tls_context_destroy(struct tls_context **ctx); /* streams that use it keep it alive */

struct stream;
/* The common name of the peer's verified certificate, or false when there is none. */
bool tls_peer_common_name(const struct stream *stream, char *buf, size_t size);

/* Once, before anything else of OpenSSL. Its state then lives as long as the process: a helper thread may still compute when
   the process ends, and OpenSSL's own clearing up at exit would take the state from under it. */
void tls_init_process(void);

#endif
