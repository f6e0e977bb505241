/* Certificates made on the spot, and TLS clients that run in threads of their own with blocking sockets. */
#ifndef PGUNISON_TEST_TLS_TEST_H
#define PGUNISON_TEST_TLS_TEST_H

#include "net_test.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* issuer NULL: self-signed, a CA. */
static inline struct identity identity_create(const char *common_name, const struct identity *issuer)
{
    static long serial;
    struct identity id = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(id.cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(id.cert, X509_get_subject_name(issuer ? issuer->cert : id.cert));
    if (!issuer) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(id.cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static inline void identity_free(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
}

static inline void identity_write(const struct identity *id, const char *cert_path, const char *key_path)
{
    FILE *f = fopen(cert_path, "w");
    assert_non_null(f);
    PEM_write_X509(f, id->cert);
    fclose(f);
    if (key_path) {
        f = fopen(key_path, "w");
        assert_non_null(f);
        PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
        fclose(f);
    }
}

/* An SSL over a connected blocking socket; handshake not begun. id NULL: no client certificate. */
static inline SSL *client_ssl(int fd, const struct identity *id, int max_version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (max_version)
        SSL_CTX_set_max_proto_version(ctx, max_version);
    if (id) {
        SSL_CTX_use_certificate(ctx, id->cert);
        SSL_CTX_use_PrivateKey(ctx, id->key);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(ssl, fd);
    return ssl;
}

#endif
