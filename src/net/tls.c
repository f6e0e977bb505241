/*
 * TLS contexts: of clients that connect to us, and of our connections to servers. libpq sets up the first one to a
 * server; another one is set up like it.
 *
 * With clients as PostgreSQL's own server does: no session cache and no tickets (a resumed session would carry a client
 * certificate past its verification), no renegotiation, no compression. Buffers are released while a
 * connection is idle.
 *
 * Not responsible for: handshakes and records (transport_tls.c), certificates' meaning (session/auth).
 */
#include "net/tls.h"

#include "base/arena.h"
#include "stream_private.h"
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    SSL_CTX *ssl_ctx; /* counted: each SSL holds it as well */
    SSL *established; /* NULL: of the server's side */
};

const char *tls_reason(char *buf, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (reason)
        snprintf(buf, size, "%s", reason);
    else if (ERR_SYSTEM_ERROR(code))
        snprintf(buf, size, "%s", strerror(ERR_GET_REASON(code)));
    else
        ERR_error_string_n(code, buf, size);
    return buf;
}

/* The first OpenSSL error of this thread, behind our own words. */
static enum status config_error(struct error *error_r, const char *what, const char *name)
{
    char reason[256];
    enum status r =
        error_set(error_r, SQLSTATE_CONFIG, "%s \"%s\": %s", what, name, tls_reason(reason, sizeof(reason)));
    ERR_clear_error();
    return r;
}

/* ---- protocol versions
 * ------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int version;
    uint64_t off;
} versions[] = {
    {"tlsv1.0", TLS1_VERSION, SSL_OP_NO_TLSv1},
    {"tlsv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
    {"tlsv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
    {"tlsv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};
enum { N_VERSIONS = 4, SECURE_VERSIONS = 1 << 2 | 1 << 3, ALL_VERSIONS = (1 << N_VERSIONS) - 1 };

static bool slice_is(struct slice s, const char *name)
{
    return s.len == strlen(name) && strncasecmp((const char *)s.data, name, s.len) == 0;
}

/* Bits of the versions that one word of the list means; 0: not a word. */
static int versions_of_word(struct slice word)
{
    if (slice_is(word, "secure"))
        return SECURE_VERSIONS;
    if (slice_is(word, "all") || slice_is(word, "legacy"))
        return ALL_VERSIONS;
    for (int i = 0; i < N_VERSIONS; i++)
        if (slice_is(word, versions[i].name))
            return 1 << i;
    return 0;
}

static enum status set_protocols(SSL_CTX *ctx, const char *protocols, struct error *error_r)
{
    int wanted = 0;
    const char *p = protocols ? protocols : "secure";
    while (*p) {
        size_t len = strcspn(p, ", ");
        if (len) {
            int bits = versions_of_word(slice_of(p, len));
            if (!bits) {
                (void)error_set(error_r, SQLSTATE_CONFIG, "unknown TLS protocol \"%.*s\"", (int)len, p);
                error_hint(error_r, "Use secure, all, or a list of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3.");
                return STATUS_ERROR;
            }
            wanted |= bits;
        }
        p += len + strspn(p + len, ", ");
    }
    if (!wanted)
        return error_set(error_r, SQLSTATE_CONFIG, "the list of TLS protocols is empty");

    int lowest = __builtin_ctz((unsigned)wanted);
    SSL_CTX_set_min_proto_version(ctx, versions[lowest].version); /* overrides the system's own minimum */
    for (int i = lowest; i < N_VERSIONS; i++)
        if (!(wanted & 1 << i))
            SSL_CTX_set_options(ctx, versions[i].off);
    return STATUS_OK;
}

static enum status set_ciphers(SSL_CTX *ctx, const char *ciphers, struct error *error_r)
{
    static const char *const defaults[] = {"default", "secure", "normal", "fast"};
    if (!ciphers || !*ciphers)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (strcasecmp(ciphers, defaults[i]) == 0)
            return STATUS_OK;
    if (SSL_CTX_set_cipher_list(ctx, strcasecmp(ciphers, "all") == 0 ? "ALL:!aNULL:!eNULL" : ciphers) != 1)
        return config_error(error_r, "could not use TLS ciphers", ciphers);
    return STATUS_OK;
}

/* ---- certificates
 * ------------------------------------------------------------------------------------------ */

/* A key with a passphrase is refused: asking on the terminal would stop the process. */
static int no_passphrase(char *buf, int size, int for_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)for_writing;
    (void)arg;
    return -1;
}

static enum status load_identity(SSL_CTX *ctx, const struct tls_server_options *o, struct error *error_r)
{
    if (!o->cert_file || !o->key_file)
        return error_set(error_r, SQLSTATE_CONFIG, "TLS needs a certificate file and a key file");
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        return config_error(error_r, "could not load TLS certificate", o->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1)
        return config_error(error_r, "could not load TLS key", o->key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return config_error(error_r, "TLS certificate does not match its key", o->key_file);
    return STATUS_OK;
}

static enum status load_client_ca(SSL_CTX *ctx, const struct tls_server_options *o, struct error *error_r)
{
    if (!o->ca_file) {
        if (o->require_client_cert)
            return error_set(error_r, SQLSTATE_CONFIG, "verifying client certificates needs a CA file");
        return STATUS_OK;
    }
    if (SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1)
        return config_error(error_r, "could not load TLS CA file", o->ca_file);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->ca_file);
    if (!names)
        return config_error(error_r, "could not load TLS CA file", o->ca_file);
    SSL_CTX_set_client_CA_list(ctx, names); /* owns them now */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (o->require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return STATUS_OK;
}

/* ---- contexts
 * ---------------------------------------------------------------------------------------------- */

struct tls_context *tls_server_context_create(const struct tls_server_options *options, struct error *error_r)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        (void)config_error(error_r, "could not create a TLS context for", "clients");
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1); /* else header and body of each record are read apart */
    SSL_CTX_set_dh_auto(ctx, 1);

    if (set_protocols(ctx, options->protocols, error_r) != STATUS_OK ||
        set_ciphers(ctx, options->ciphers, error_r) != STATUS_OK ||
        load_identity(ctx, options, error_r) != STATUS_OK ||
        load_client_ca(ctx, options, error_r) != STATUS_OK) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    struct tls_context *c = xcalloc(1, sizeof(*c));
    c->ssl_ctx = ctx;
    return c;
}

struct tls_context *tls_client_context_create(void *established)
{
    struct tls_context *c = xcalloc(1, sizeof(*c));
    SSL_up_ref(established);
    c->established = established;
    c->ssl_ctx = SSL_get_SSL_CTX(established);
    SSL_CTX_up_ref(c->ssl_ctx);
    return c;
}

void tls_context_destroy(struct tls_context **ctx)
{
    if (!*ctx)
        return;
    SSL_free((*ctx)->established);
    SSL_CTX_free((*ctx)->ssl_ctx);
    free(*ctx);
    *ctx = NULL;
}

bool tls_context_is_client(const struct tls_context *ctx)
{
    return ctx->established != NULL;
}

/* The SSL_CTX has the roots, our certificate and the versions. What libpq sets on the SSL alone is copied: the key, the
   verification, the server's name. Its callbacks are not, as they know its PGconn. */
static bool set_up_like(SSL *ssl, SSL *established)
{
    EVP_PKEY *key = SSL_get_privatekey(established);
    const char *name = SSL_get_servername(established, TLSEXT_NAMETYPE_host_name);
    SSL_set_cert_cb(ssl, NULL, NULL);
    SSL_set_verify(ssl, SSL_get_verify_mode(established), NULL);
    SSL_set_options(ssl, SSL_get_options(established));
    return (!key || SSL_use_PrivateKey(ssl, key) == 1) && (!name || SSL_set_tlsext_host_name(ssl, name) == 1);
}

SSL *tls_context_new_ssl(struct tls_context *ctx)
{
    SSL *ssl = SSL_new(ctx->ssl_ctx);
    if (!ssl)
        return NULL;
    if (!ctx->established) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (set_up_like(ssl, ctx->established))
        return ssl;
    SSL_free(ssl);
    return NULL;
}

/* A name with a NUL inside could pass for a shorter one: refused. */
bool tls_peer_common_name(const struct stream *stream, char *buf, size_t size)
{
    if (!stream->ssl || SSL_get_verify_result(stream->ssl) != X509_V_OK)
        return false;
    X509 *cert = SSL_get0_peer_certificate(stream->ssl);
    if (!cert)
        return false;
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0)
        return false;
    unsigned char *name = NULL;
    int len = ASN1_STRING_to_UTF8(&name, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool ok = len > 0 && (size_t)len < size && memchr(name, '\0', (size_t)len) == NULL;
    if (ok) {
        memcpy(buf, name, (size_t)len);
        buf[len] = '\0';
    }
    OPENSSL_free(name);
    ERR_clear_error();
    return ok;
}

/* As libpq does it for verify-full: an address may stand as an address or, in certificates of old, as a name. */
static bool is_made_out_to(X509 *cert, const char *name)
{
    return X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1 ||
           X509_check_ip_asc(cert, name, 0) == 1;
}

bool tls_peer_is_the_same(const struct stream *stream, const struct tls_context *ctx, const char *name)
{
    X509 *cert = stream->ssl ? SSL_get0_peer_certificate(stream->ssl) : NULL;
    X509 *known = SSL_get0_peer_certificate(ctx->established);
    bool same = cert && ((known && X509_cmp(cert, known) == 0) || is_made_out_to(cert, name));
    ERR_clear_error();
    return same;
}

void tls_init_process(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); /* failure: the clearing up stays as it is */
}
