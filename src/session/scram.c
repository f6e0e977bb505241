/*
 * SCRAM-SHA-256 without channel binding, server side: RFC 5802 with the hash of RFC 7677, and PostgreSQL's
 * departures from them (documentation, "SASL Authentication"): the name in the client's first message is
 * ignored, as the startup packet gave it; a failure is an ErrorResponse, not an "e=" attribute.
 *
 *   client   n,,n=user,r=C                    client-first:  gs2 header, then the bare part
 *   server   r=CS,s=<salt>,i=<iterations>
 *   client   c=biws,r=CS,p=<proof>            c: the gs2 header, in base64
 *   server   v=<signature>
 *
 *   StoredKey = H(ClientKey); ClientKey = HMAC(SaltedPassword, "Client Key"); proof = ClientKey XOR
 *   HMAC(StoredKey, AuthMessage). So the proof, taken apart with what the verifier knows, must give a
 * ClientKey whose hash is StoredKey.
 *
 * Passwords: RFC 5802 has both sides prepare them with SASLprep (RFC 4013). ASCII comes out of that as it
 * went in. Anything else is used as its bytes are, which is what PostgreSQL does when a password cannot be
 * prepared; clients that do prepare it agree unless it has characters that Unicode's NFKC changes. A verifier
 * copied from a server has no such limit.
 *
 * Not responsible for: who may log in, and messages' frames (auth.c).
 */
#include "scram.h"

#include <assert.h>
#include <openssl/crypto.h> /* by exception outside of net: SCRAM's hashes, no sockets */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- arithmetic ------------------------------------------------------------------------------- */

/* OpenSSL fails here only for want of memory or of its own providers: as with memory elsewhere, there is no
 * going on. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

static void hmac(const uint8_t key[SCRAM_KEY_BYTES], struct slice text, uint8_t out[SCRAM_KEY_BYTES])
{
    unsigned len = 0;
    must(HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, text.data, text.len, out, &len) && len == SCRAM_KEY_BYTES);
}

static void hash(const uint8_t in[SCRAM_KEY_BYTES], uint8_t out[SCRAM_KEY_BYTES])
{
    unsigned len = 0;
    must(EVP_Digest(in, SCRAM_KEY_BYTES, out, &len, EVP_sha256(), NULL) == 1 && len == SCRAM_KEY_BYTES);
}

void scram_derive_keys(struct slice password, struct slice salt, uint32_t iterations,
                       uint8_t stored_key_r[SCRAM_KEY_BYTES], uint8_t server_key_r[SCRAM_KEY_BYTES])
{
    uint8_t salted[SCRAM_KEY_BYTES], client_key[SCRAM_KEY_BYTES];
    must(password.len <= INT32_MAX && salt.len <= SCRAM_SALT_MAX && iterations <= INT32_MAX);
    must(PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, salt.data, (int)salt.len,
                           (int)iterations, EVP_sha256(), SCRAM_KEY_BYTES, salted) == 1);
    hmac(salted, slice_str("Client Key"), client_key);
    hash(client_key, stored_key_r);
    hmac(salted, slice_str("Server Key"), server_key_r);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
}

static uint8_t process_secret[SCRAM_KEY_BYTES];

static void make_process_secret(void)
{
    must(RAND_bytes(process_secret, sizeof process_secret) == 1);
}

void scram_process_hmac(const char *purpose, const char *text, uint8_t out[SCRAM_KEY_BYTES])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct buf b;
    must(pthread_once(&once, make_process_secret) == 0);
    buf_init(&b);
    buf_cstr(&b, purpose);
    buf_str(&b, text);
    hmac(process_secret, buf_slice(&b), out);
    buf_free(&b);
}

bool scram_proof_is_right(const struct scram *s, const uint8_t stored_key[SCRAM_KEY_BYTES])
{
    uint8_t signature[SCRAM_KEY_BYTES], key[SCRAM_KEY_BYTES], hashed[SCRAM_KEY_BYTES];
    hmac(stored_key, buf_slice(&s->auth_message), signature);
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++)
        key[i] = (uint8_t)(s->proof[i] ^ signature[i]);
    hash(key, hashed);
    OPENSSL_cleanse(key, sizeof key);
    return CRYPTO_memcmp(hashed, stored_key, SCRAM_KEY_BYTES) == 0;
}

/* --- base64 (RFC 4648, with padding) ---------------------------------------------------------- */

static void put_base64(struct buf *out, struct slice bytes)
{
    size_t len = 4 * ((bytes.len + 2) / 3);
    uint8_t *to = buf_reserve(out, len + 1); /* OpenSSL adds a NUL */
    must(EVP_EncodeBlock(to, bytes.data, (int)bytes.len) == (int)len);
    buf_added(out, len);
}

/* The proof: exactly SCRAM_KEY_BYTES in 44 characters, the last of which is padding. */
static bool read_proof(struct slice text, uint8_t proof_r[SCRAM_KEY_BYTES])
{
    uint8_t bytes[SCRAM_KEY_BYTES + 1];
    struct buf again;
    if (text.len != 44 || EVP_DecodeBlock(bytes, text.data, 44) != SCRAM_KEY_BYTES + 1)
        return false;
    memcpy(proof_r, bytes, SCRAM_KEY_BYTES);
    /* OpenSSL is generous with blanks and padding; what we would write ourselves is the only spelling. */
    buf_init(&again);
    put_base64(&again, slice_of(proof_r, SCRAM_KEY_BYTES));
    bool same = slice_eq(buf_slice(&again), text);
    buf_free(&again);
    return same;
}

/* --- the texts -------------------------------------------------------------------------------- */

static enum status malformed(struct error *error_r, const char *detail)
{
    error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "malformed SCRAM message");
    error_detail(error_r, "%s", detail);
    return STATUS_ERROR;
}

/* The attribute at the head of *rest, without its comma if it has one; *rest moves behind it. */
static bool take_attribute(struct slice *rest, char *name_r, struct slice *value_r)
{
    const uint8_t *p = rest->data;
    if (rest->len < 2 || p[1] != '=' || !((p[0] >= 'a' && p[0] <= 'z') || (p[0] >= 'A' && p[0] <= 'Z')))
        return false;
    const uint8_t *comma = memchr(p, ',', rest->len);
    size_t len = comma ? (size_t)(comma - p) : rest->len;
    *name_r = (char)p[0];
    *value_r = slice_of(p + 2, len - 2);
    size_t used = comma ? len + 1 : len;
    *rest = slice_of(p + used, rest->len - used);
    return true;
}

static bool printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x21 || s.data[i] > 0x7e)
            return false;
    return true;
}

void scram_init(struct scram *s, struct slice salt, uint32_t iterations, const char *server_nonce)
{
    *s = (struct scram){.salt_len = salt.len, .iterations = iterations};
    assert(salt.len <= sizeof s->salt && iterations > 0);
    memcpy(s->salt, salt.data, salt.len);
    buf_init(&s->nonce);
    buf_init(&s->auth_message);
    if (server_nonce) {
        snprintf(s->server_nonce, sizeof s->server_nonce, "%s", server_nonce);
        return;
    }
    uint8_t random[SCRAM_NONCE_BYTES];
    must(RAND_bytes(random, sizeof random) == 1);
    must(EVP_EncodeBlock((uint8_t *)s->server_nonce, random, sizeof random) == 4 * SCRAM_NONCE_BYTES / 3);
}

void scram_deinit(struct scram *s)
{
    buf_free(&s->nonce);
    buf_free(&s->auth_message);
    OPENSSL_cleanse(s->proof, sizeof s->proof);
}

/* The gs2 header, up to and with its second comma. */
static enum status read_gs2_header(struct scram *s, struct slice *rest, struct error *error_r)
{
    char flag = rest->len ? (char)rest->data[0] : 0;
    if (flag == 'p')
        return malformed(error_r, "The client asks for channel binding, which was not offered.");
    if (flag != 'n' && flag != 'y')
        return malformed(error_r, "The channel-binding flag is none of n, y and p.");
    if (rest->len < 3 || rest->data[1] != ',')
        return malformed(error_r, "The channel-binding flag is not followed by a comma.");
    if (rest->data[2] == 'a')
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "client uses authorization identity, but it is not supported");
    if (rest->data[2] != ',')
        return malformed(error_r, "The gs2 header does not end in a comma.");
    s->gs2_flag = flag;
    *rest = slice_of(rest->data + 3, rest->len - 3);
    return STATUS_OK;
}

enum status scram_read_client_first(struct scram *s, struct slice msg, struct error *error_r)
{
    struct slice rest = msg, value;
    char name;
    assert(!s->gs2_flag);
    if (read_gs2_header(s, &rest, error_r) != STATUS_OK)
        return STATUS_ERROR;
    struct slice bare = rest;
    if (rest.len && rest.data[0] == 'm')
        return error_set(error_r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "client requires an unsupported SCRAM extension");
    if (!take_attribute(&rest, &name, &value) || name != 'n')
        return malformed(error_r, "Attribute n was expected.");
    if (!take_attribute(&rest, &name, &value) || name != 'r')
        return malformed(error_r, "Attribute r was expected.");
    if (value.len == 0 || !printable(value))
        return malformed(error_r, "The nonce is empty or has characters that are not printable.");
    buf_slice_append(&s->nonce, value);
    while (rest.len) /* optional extensions: to be ignored */
        if (!take_attribute(&rest, &name, &value))
            return malformed(error_r, "Text that is not an attribute follows the nonce.");
    buf_slice_append(&s->auth_message, bare);
    return STATUS_OK;
}

void scram_put_server_first(struct scram *s, struct buf *out)
{
    struct buf text;
    buf_str(&s->nonce, s->server_nonce);
    buf_init(&text);
    buf_str(&text, "r=");
    buf_slice_append(&text, buf_slice(&s->nonce));
    buf_str(&text, ",s=");
    put_base64(&text, slice_of(s->salt, s->salt_len));
    buf_printf(&text, ",i=%u", s->iterations);
    buf_slice_append(out, buf_slice(&text));
    buf_str(&s->auth_message, ",");
    buf_slice_append(&s->auth_message, buf_slice(&text));
    buf_free(&text);
}

enum status scram_read_client_final(struct scram *s, struct slice msg, struct error *error_r)
{
    struct slice rest = msg, value;
    char name;
    if (!take_attribute(&rest, &name, &value) || name != 'c')
        return malformed(error_r, "Attribute c was expected.");
    if (!slice_eq_str(value, s->gs2_flag == 'n' ? "biws" : "eSws"))
        return error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION,
                         "unexpected SCRAM channel-binding attribute in client-final-message");
    if (!take_attribute(&rest, &name, &value) || name != 'r')
        return malformed(error_r, "Attribute r was expected.");
    if (!slice_eq(value, buf_slice(&s->nonce))) {
        error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "invalid SCRAM response");
        error_detail(error_r, "Nonce does not match.");
        return STATUS_ERROR;
    }
    size_t before_proof;
    do { /* extensions before the proof are signed, and ignored */
        before_proof = msg.len - rest.len;
        if (!take_attribute(&rest, &name, &value))
            return malformed(error_r, "Attribute p was expected.");
    } while (name != 'p');
    if (!read_proof(value, s->proof))
        return malformed(error_r, "The proof is not 32 bytes in base64.");
    if (msg.len != (size_t)(value.data + value.len - msg.data))
        return malformed(error_r, "Text follows the proof.");
    buf_str(&s->auth_message, ",");
    buf_append(&s->auth_message, msg.data, before_proof - 1); /* without the comma before p= */
    return STATUS_OK;
}

void scram_put_server_final(const struct scram *s, const uint8_t server_key[SCRAM_KEY_BYTES], struct buf *out)
{
    uint8_t signature[SCRAM_KEY_BYTES];
    hmac(server_key, buf_slice(&s->auth_message), signature);
    buf_str(out, "v=");
    put_base64(out, slice_of(signature, sizeof signature));
}
