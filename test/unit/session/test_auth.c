/*
 * Logging in. The exchange of RFC 7677, section 3, is replayed byte for byte; the rest talks to
 * session/auth.h as a client does, with a client's half of SCRAM written here from RFC 5802.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/session/scram.h"
#include "base/arena.h"
#include "session/auth.h"
#include "wire/message.h"
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENT_NONCE    "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_FIRST       "n,,n=user,r=" CLIENT_NONCE
#define RFC_CHALLENGE   "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_PROOF       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_FINAL       "c=biws,r=" CLIENT_NONCE SERVER_NONCE "," RFC_PROOF
#define RFC_VERIFIER_IS "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

/* Before the library's: counts. */
static unsigned derivations;
int PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen, int iter,
                      const EVP_MD *digest, int keylen, unsigned char *out)
{
    int (*real)(const char *, int, const unsigned char *, int, int, const EVP_MD *, int, unsigned char *);
    void *symbol = dlsym(RTLD_NEXT, "PKCS5_PBKDF2_HMAC");
    memcpy(&real, &symbol, sizeof real);
    derivations++;
    return real(pass, passlen, salt, saltlen, iter, digest, keylen, out);
}

static const uint8_t rfc_salt[16] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                     0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};

static struct config config;
static struct user plain = {.name = "plain", .kind = SECRET_PLAIN, .secret = "pencil"};
static struct user latin = {.name = "latin", .kind = SECRET_PLAIN, .secret = "p\xe9ncil \xff"};
static struct user empty = {.name = "empty", .kind = SECRET_PLAIN, .secret = ""};
static struct user hashed = {
    .name = "hashed", .kind = SECRET_MD5, .secret = "md50123456789abcdef0123456789abcdef"};
static struct user verified = {.name = "verified", .kind = SECRET_SCRAM, .iterations = 8192, .salt_len = 24};

static int setup(void **state)
{
    (void)state;
    struct user *all[] = {&plain, &latin, &empty, &hashed, &verified};
    memset(verified.salt, 0xa5, verified.salt_len);
    scram_derive_keys(slice_str("pencil"), slice_of(verified.salt, verified.salt_len), verified.iterations,
                      verified.stored_key, verified.server_key);
    hashmap_init(&config.users.by_name);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        hashmap_put(&config.users.by_name, slice_str(all[i]->name), all[i]);
    config.settings.auth_type = AUTH_SCRAM;
    auth_prepare(&config, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hashmap_free(&config.users.by_name, NULL);
    return 0;
}

/* --- a client --------------------------------------------------------------------------------- */

struct client {
    struct auth *auth;
    struct buf out;
    struct error error;
    enum auth_step step;
    char challenge[512]; /* server-first */
    size_t salt_len;
    int iterations;
    char auth_message[2048];
};

static void begin(struct client *c, const char *user)
{
    *c = (struct client){0};
    buf_init(&c->out);
    config.settings.auth_type = AUTH_SCRAM;
    c->step = auth_start(&config, user, &c->auth, &c->out, &c->error);
    assert_int_equal(c->step, AUTH_MORE);
    static const char offer[] = "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0";
    assert_int_equal(buf_len(&c->out), sizeof offer);
    assert_memory_equal(buf_head(&c->out), offer, sizeof offer);
    buf_clear(&c->out);
}

static void finish(struct client *c)
{
    auth_destroy(&c->auth);
    assert_null(c->auth);
    buf_free(&c->out);
}

static void send_body(struct client *c, const void *body, size_t len)
{
    struct buf b;
    struct frame f = {0};
    size_t need;
    buf_init(&b);
    size_t begun = message_begin(&b, MSG_PASSWORD);
    buf_append(&b, body, len);
    message_end(&b, begun);
    assert_int_equal(frame_next(buf_slice(&b), 1 << 20, &f, &need), FRAME_OK);
    c->step = auth_continue(c->auth, &f, &c->out, &c->error);
    buf_free(&b);
}

static void send_text(struct client *c, const char *text)
{
    send_body(c, text, strlen(text));
}

static void send_initial(struct client *c, const char *mechanism, const char *text)
{
    struct buf b;
    buf_init(&b);
    buf_cstr(&b, mechanism);
    buf_u32(&b, text ? (uint32_t)strlen(text) : UINT32_MAX);
    buf_str(&b, text ? text : "");
    send_body(c, buf_head(&b), buf_len(&b));
    buf_free(&b);
}

/* The text of the one Authentication message that came. */
static struct slice reply(struct client *c, uint32_t code)
{
    struct frame f = {0};
    size_t need;
    assert_int_equal(frame_next(buf_slice(&c->out), 1 << 20, &f, &need), FRAME_OK);
    assert_int_equal(f.type, 'R');
    assert_int_equal(load_u32(f.body.data), code);
    buf_consume(&c->out, f.whole.len);
    return slice_of(f.body.data + 4, f.body.len - 4);
}

static void read_challenge(struct client *c, const char *bare)
{
    assert_int_equal(c->step, AUTH_MORE);
    struct slice s = reply(c, 11);
    snprintf(c->challenge, sizeof c->challenge, "%.*s", (int)s.len, (const char *)s.data);
    assert_int_equal(buf_len(&c->out), 0);
    snprintf(c->auth_message, sizeof c->auth_message, "%s,%s", bare, c->challenge);
}

static void greet(struct client *c)
{
    send_initial(c, "SCRAM-SHA-256", RFC_FIRST);
    read_challenge(c, "n=user,r=" CLIENT_NONCE);
}

static void hmac(const void *key, const char *text, uint8_t out[32])
{
    unsigned len;
    assert_non_null(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), out, &len));
}

static void to_base64(const uint8_t *bytes, size_t len, char *out)
{
    EVP_EncodeBlock((uint8_t *)out, bytes, (int)len);
}

/* c=..,r=.. without proof, of the nonce in the challenge. */
static void final_without_proof(struct client *c, const char *binding, char *out, size_t size)
{
    int nonce_len = (int)strcspn(c->challenge, ",");
    snprintf(out, size, "c=%s,%.*s", binding, nonce_len, c->challenge);
}

/* RFC 5802, section 3. signature_r: what the server is to answer. */
static void client_final(struct client *c, const char *password, const char *without, char *final_r,
                         size_t size, char *signature_r)
{
    uint8_t salt[128], salted[32], client_key[32], stored_key[32], signature[32], server_key[32];
    char salt64[128], proof64[64], message[3072];
    unsigned iterations, hash_len;
    assert_int_equal(sscanf(strchr(c->challenge, ','), ",s=%127[^,],i=%u", salt64, &iterations), 2);
    int padding = (int)(strlen(salt64) - strcspn(salt64, "="));
    c->salt_len = (size_t)(EVP_DecodeBlock(salt, (uint8_t *)salt64, (int)strlen(salt64)) - padding);
    c->iterations = (int)iterations;
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)c->salt_len, c->iterations, EVP_sha256(),
                      32, salted);
    hmac(salted, "Client Key", client_key);
    hmac(salted, "Server Key", server_key);
    EVP_Digest(client_key, 32, stored_key, &hash_len, EVP_sha256(), NULL);
    snprintf(message, sizeof message, "%s,%s", c->auth_message, without);
    hmac(stored_key, message, signature);
    for (int i = 0; i < 32; i++)
        client_key[i] ^= signature[i];
    to_base64(client_key, 32, proof64);
    snprintf(final_r, size, "%s,p=%s", without, proof64);
    hmac(server_key, message, signature);
    to_base64(signature, 32, signature_r);
}

static void log_in(struct client *c, const char *user, const char *password)
{
    char without[256], final[512], signature[64], expected[80];
    begin(c, user);
    greet(c);
    final_without_proof(c, "biws", without, sizeof without);
    client_final(c, password, without, final, sizeof final, signature);
    send_text(c, final);
    if (c->step != AUTH_OK)
        return;
    struct slice s = reply(c, 12);
    snprintf(expected, sizeof expected, "v=%s", signature);
    assert_true(slice_eq_str(s, expected));
    assert_int_equal(reply(c, 0).len, 0);
    assert_int_equal(buf_len(&c->out), 0);
}

static void expect_failure(struct client *c, const char *sqlstate, const char *words)
{
    assert_int_equal(c->step, AUTH_FAILED);
    assert_string_equal(c->error.sqlstate, sqlstate);
    if (!strstr(c->error.message, words) && !strstr(c->error.detail, words))
        fail_msg("\"%s\" is not in \"%s\" (%s)", words, c->error.message, c->error.detail);
    assert_int_equal(buf_len(&c->out), 0);
    finish(c);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void exchange_of_rfc_7677_is_reproduced(void **state)
{
    (void)state;
    struct scram s;
    struct error error;
    struct buf out;
    uint8_t stored_key[32], server_key[32];
    buf_init(&out);
    scram_init(&s, slice_of(rfc_salt, sizeof rfc_salt), 4096, SERVER_NONCE);
    assert_int_equal(scram_read_client_first(&s, slice_str(RFC_FIRST), &error), STATUS_OK);
    scram_put_server_first(&s, &out);
    assert_true(slice_eq_str(buf_slice(&out), RFC_CHALLENGE));
    assert_int_equal(scram_read_client_final(&s, slice_str(RFC_FINAL), &error), STATUS_OK);
    scram_derive_keys(slice_str("pencil"), slice_of(rfc_salt, sizeof rfc_salt), 4096, stored_key, server_key);
    assert_true(scram_proof_is_right(&s, stored_key));
    buf_clear(&out);
    scram_put_server_final(&s, server_key, &out);
    assert_true(slice_eq_str(buf_slice(&out), RFC_VERIFIER_IS));
    for (int i = 0; i < 32; i++) { /* every byte of the key counts */
        stored_key[i] ^= 1;
        assert_false(scram_proof_is_right(&s, stored_key));
        stored_key[i] ^= 1;
    }
    scram_deinit(&s);
    buf_free(&out);
}

static void right_password_logs_in(void **state)
{
    (void)state;
    static const struct {
        const char *user, *password;
        int iterations, salt_len;
    } cases[] = {{"plain", "pencil", 4096, 16},
                 {"latin", "p\xe9ncil \xff", 4096, 16},
                 {"verified", "pencil", 8192, 24}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        log_in(&c, cases[i].user, cases[i].password);
        assert_int_equal(c.step, AUTH_OK);
        assert_int_equal(c.iterations, cases[i].iterations);
        assert_int_equal(c.salt_len, cases[i].salt_len);
        finish(&c);
    }
}

static void wrong_password_and_unfit_users_fail_alike(void **state)
{
    (void)state;
    static const struct {
        const char *user, *password;
    } cases[] = {{"plain", "Pencil"},   {"plain", ""},
                 {"verified", "penci"}, {"nobody", "pencil"},
                 {"nobody", "nobody"},  {"", ""},
                 {"empty", ""},         {"hashed", "md50123456789abcdef0123456789abcdef"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        char words[128];
        snprintf(words, sizeof words, "password authentication failed for user \"%s\"", cases[i].user);
        log_in(&c, cases[i].user, cases[i].password);
        assert_string_equal(c.error.message, words);
        assert_string_equal(c.error.detail, "");
        assert_string_equal(c.error.hint, "");
        expect_failure(&c, "28P01", words);
    }
}

/* log_in() is the client's half too, which derives once. */
static void no_login_derives_keys(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"plain", "pencil"},   {"plain", "wrong"}, {"verified", "pencil"},
                                           {"verified", "wrong"}, {"nobody", "x"},    {"empty", "x"},
                                           {"hashed", "x"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        unsigned before = derivations;
        log_in(&c, cases[i][0], cases[i][1]);
        assert_int_equal(derivations - before, 1);
        finish(&c);
    }
}

static struct user user_of(const char *name, const char *secret)
{
    return (struct user){.name = name, .kind = SECRET_PLAIN, .secret = secret};
}

static unsigned derivations_of_reload(struct user *u, const struct config *old, enum auth_type type)
{
    struct config new = {.settings.auth_type = type};
    unsigned before = derivations;
    hashmap_init(&new.users.by_name);
    hashmap_put(&new.users.by_name, slice_str(u->name), u);
    auth_prepare(&new, old);
    hashmap_free(&new.users.by_name, NULL);
    return derivations - before;
}

static void a_reload_derives_only_what_is_new(void **state)
{
    (void)state;
    struct user same = user_of("plain", "pencil"), changed = user_of("plain", "other"),
                added = user_of("added", "pencil"), none = user_of("plain", ""),
                unused = user_of("plain", "pencil");
    assert_int_equal(derivations_of_reload(&same, &config, AUTH_SCRAM), 0);
    assert_true(same.derived);
    assert_memory_equal(same.stored_key, plain.stored_key, sizeof same.stored_key);
    assert_memory_equal(same.server_key, plain.server_key, sizeof same.server_key);
    assert_memory_equal(same.salt, plain.salt, plain.salt_len);
    assert_int_equal(derivations_of_reload(&changed, &config, AUTH_SCRAM), 1);
    assert_memory_not_equal(changed.stored_key, plain.stored_key, sizeof changed.stored_key);
    assert_int_equal(derivations_of_reload(&added, &config, AUTH_SCRAM), 1);
    assert_int_equal(derivations_of_reload(&none, &config, AUTH_SCRAM), 0);
    assert_int_equal(derivations_of_reload(&unused, NULL, AUTH_ANY), 0);
    assert_int_equal(derivations_of_reload(&unused, NULL, AUTH_SCRAM), 1);
    assert_int_equal(derivations_of_reload(&unused, NULL, AUTH_SCRAM),
                     0); /* a SET shares the list of users */
}

static const char *salt_of(const char *user, char *out)
{
    struct client c;
    begin(&c, user);
    greet(&c);
    strcpy(out, strstr(c.challenge, ",s="));
    finish(&c);
    return out;
}

static void unknown_names_look_like_known_ones(void **state)
{
    (void)state;
    char first[512], again[512], other[512];
    bool like_plain = false, like_verified = false;
    for (int i = 0; i < 64; i++) {
        char name[32];
        snprintf(name, sizeof name, "nobody%d", i);
        assert_string_equal(salt_of(name, first), salt_of(name, again));
        assert_string_not_equal(first, salt_of("somebody", other));
        size_t salt_chars = strcspn(first + 3, ",");
        bool plain_like = salt_chars == 24 && strstr(first, ",i=4096");
        bool verified_like = salt_chars == 32 && strstr(first, ",i=8192");
        assert_true(plain_like || verified_like);
        like_plain |= plain_like;
        like_verified |= verified_like;
    }
    /* 64 names, each one of two kinds by a keyed hash: both come up but for one run in 2^37. */
    assert_true(like_plain && like_verified);
    assert_string_equal(salt_of("plain", first), salt_of("plain", again));
    assert_string_not_equal(salt_of("plain", first), salt_of("latin", other));
}

static void nonces_are_fresh(void **state)
{
    (void)state;
    struct client a, b;
    begin(&a, "plain");
    begin(&b, "plain");
    greet(&a);
    greet(&b);
    assert_int_equal(strncmp(a.challenge, "r=" CLIENT_NONCE, strlen("r=" CLIENT_NONCE)), 0);
    assert_true(strcspn(a.challenge, ",") >= strlen("r=" CLIENT_NONCE) + 24);
    assert_string_not_equal(a.challenge, b.challenge);
    finish(&a);
    finish(&b);
}

static void first_message_may_come_after_an_empty_challenge(void **state)
{
    (void)state;
    struct client c;
    char without[256], final[512], signature[64];
    begin(&c, "plain");
    send_initial(&c, "SCRAM-SHA-256", NULL);
    assert_int_equal(c.step, AUTH_MORE);
    assert_int_equal(reply(&c, 11).len, 0);
    send_text(&c, "y,,n=,r=abc,x=later");
    read_challenge(&c, "n=,r=abc,x=later");
    final_without_proof(&c, "eSws", without, sizeof without);
    strcat(without, ",x=and more");
    client_final(&c, "pencil", without, final, sizeof final, signature);
    send_text(&c, final);
    assert_int_equal(c.step, AUTH_OK);
    send_text(&c, final); /* once only */
    assert_int_equal(c.step, AUTH_FAILED);
    assert_string_equal(c.error.sqlstate, "08P01");
    finish(&c);
}

static void bad_first_messages_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sqlstate, *words;
    } cases[] = {
        {"", "08P01", "flag"},
        {"n", "08P01", "comma"},
        {"n,", "08P01", "comma"},
        {"x,,n=user,r=abc", "08P01", "flag"},
        {"p=tls-server-end-point,,n=user,r=abc", "08P01", "channel binding"},
        {"n,a=other,n=user,r=abc", "0A000", "authorization identity"},
        {"n,b,n=user,r=abc", "08P01", "gs2"},
        {"n,,m=must,n=user,r=abc", "0A000", "extension"},
        {"n,,r=abc,n=user", "08P01", "Attribute n"},
        {"n,,n=user", "08P01", "Attribute r"},
        {"n,,n=user,", "08P01", "Attribute r"},
        {"n,,n=user,r=", "08P01", "nonce"},
        {"n,,n=user,r=a b", "08P01", "nonce"},
        {"n,,n=user,r=a\x7f", "08P01", "nonce"},
        {"n,,n=user,r=abc,garbage", "08P01", "follows"},
        {"n,,nuser,r=abc", "08P01", "Attribute n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        begin(&c, "plain");
        send_initial(&c, "SCRAM-SHA-256", cases[i].text);
        expect_failure(&c, cases[i].sqlstate, cases[i].words);
    }
}

static void bad_initial_responses_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
    } cases[] = {
        {"", 0},
        {"SCRAM-SHA-256", 13},                        /* no terminator */
        {"SCRAM-SHA-256\0", 14},                      /* no length */
        {"SCRAM-SHA-256\0\0\0\0", 17},                /* half a length */
        {"SCRAM-SHA-256\0\0\0\0\x03n,", 20},          /* less than it says */
        {"SCRAM-SHA-256\0\0\0\0\x01n,,n=u,r=a", 28},  /* more than it says */
        {"SCRAM-SHA-256\0\xff\xff\xff\xffn", 19},     /* none, but there is */
        {"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,", 21},   /* far more */
        {"SCRAM-SHA-256-PLUS\0\xff\xff\xff\xff", 23}, /* not offered */
        {"secret\0", 7},                              /* a password in clear text */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        begin(&c, "plain");
        send_body(&c, cases[i].body, cases[i].len);
        expect_failure(&c, "08P01", "malformed SASL message");
    }
    struct client c;
    char *huge = xmalloc(2000);
    memset(huge, 'a', 2000);
    begin(&c, "plain");
    send_body(&c, huge, 2000);
    expect_failure(&c, "08P01", "too long");
    free(huge);
}

static void zero_bytes_end_nothing(void **state)
{
    (void)state;
    struct client c;
    begin(&c, "plain");
    send_body(&c, "SCRAM-SHA-256\0\0\0\0\x0fn,,n=user,r=a\0b", 33);
    expect_failure(&c, "08P01", "nonce");
}

static void bad_final_messages_are_refused(void **state)
{
    (void)state;
    /* %s: nonce; %p: the right proof, 44 characters */
    static const struct {
        const char *form, *words;
    } cases[] = {
        {"", "Attribute c"},
        {"r=%s,p=%p", "Attribute c"},
        {"c=eSws,r=%s,p=%p", "channel-binding"},
        {"c=,r=%s,p=%p", "channel-binding"},
        {"c=biws,p=%p", "Attribute r"},
        {"c=biws,r=%sx,p=%p", "Nonce"},
        {"c=biws,r=" CLIENT_NONCE ",p=%p", "Nonce"},
        {"c=biws,r=%s", "Attribute p"},
        {"c=biws,r=%s,", "Attribute p"},
        {"c=biws,r=%s,x=1,p", "Attribute p"},
        {"c=biws,r=%s,p=", "proof"},
        {"c=biws,r=%s,p=%p=", "proof"},
        {"c=biws,r=%s,p= %p", "proof"},
        {"c=biws,r=%s,p=AAAA", "proof"},
        {"c=biws,r=%s,p=****************************************", "proof"},
        {"c=biws,r=%s,p=%p,", "follows"},
        {"c=biws,r=%s,p=%p,x=1", "follows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        char without[256], right[512], signature[64];
        struct buf text;
        begin(&c, "plain");
        greet(&c);
        final_without_proof(&c, "biws", without, sizeof without);
        client_final(&c, "pencil", without, right, sizeof right, signature);
        buf_init(&text);
        for (const char *p = cases[i].form; *p; p++) {
            if (*p == '%' && p[1] == 's')
                buf_append(&text, c.challenge + 2, strcspn(c.challenge, ",") - 2), p++;
            else if (*p == '%' && p[1] == 'p')
                buf_str(&text, strstr(right, ",p=") + 3), p++;
            else
                buf_u8(&text, (uint8_t)*p);
        }
        send_body(&c, buf_head(&text) ? (void *)buf_head(&text) : "", buf_len(&text));
        buf_free(&text);
        expect_failure(&c, "08P01", cases[i].words);
    }
}

static void other_messages_are_refused(void **state)
{
    (void)state;
    struct client c;
    struct buf b;
    struct frame f = {0};
    size_t need;
    begin(&c, "plain");
    buf_init(&b);
    message_query(&b, slice_str("SELECT 1"));
    assert_int_equal(frame_next(buf_slice(&b), 1000, &f, &need), FRAME_OK);
    c.step = auth_continue(c.auth, &f, &c.out, &c.error);
    expect_failure(&c, "08P01", "expected SASL response, got message type 81");
    buf_free(&b);
}

static enum auth_step start_with(enum auth_type type, const char *user, struct error *error_r, size_t *len_r)
{
    struct buf out;
    struct auth *auth;
    buf_init(&out);
    config.settings.auth_type = type;
    enum auth_step step = auth_start(&config, user, &auth, &out, error_r);
    assert_null(auth);
    *len_r = buf_len(&out);
    if (*len_r)
        assert_memory_equal(buf_head(&out), "R\0\0\0\x08\0\0\0\0", 9);
    buf_free(&out);
    return step;
}

static void other_auth_types(void **state)
{
    (void)state;
    struct error error;
    size_t len;
    assert_int_equal(start_with(AUTH_TRUST, "hashed", &error, &len), AUTH_OK);
    assert_int_equal(len, 9);
    assert_int_equal(start_with(AUTH_TRUST, "nobody", &error, &len), AUTH_FAILED);
    assert_int_equal(len, 0);
    assert_string_equal(error.sqlstate, "28000");
    assert_int_equal(start_with(AUTH_ANY, "nobody", &error, &len), AUTH_OK);
    assert_int_equal(len, 9);
    for (int type = AUTH_MD5; type <= AUTH_CERT; type++) {
        assert_int_equal(start_with((enum auth_type)type, "plain", &error, &len), AUTH_FAILED);
        assert_int_equal(len, 0);
        assert_string_equal(error.sqlstate, "28000");
        assert_non_null(strstr(error.message, "not supported yet"));
        assert_non_null(strstr(error.hint, "scram-sha-256"));
    }
}

static void only_plain_secrets_open_server_connections(void **state)
{
    (void)state;
    assert_string_equal(auth_server_password(&config, "plain"), "pencil");
    assert_null(auth_server_password(&config, "empty"));
    assert_null(auth_server_password(&config, "hashed"));
    assert_null(auth_server_password(&config, "verified"));
    assert_null(auth_server_password(&config, "nobody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchange_of_rfc_7677_is_reproduced),
        cmocka_unit_test(right_password_logs_in),
        cmocka_unit_test(wrong_password_and_unfit_users_fail_alike),
        cmocka_unit_test(no_login_derives_keys),
        cmocka_unit_test(a_reload_derives_only_what_is_new),
        cmocka_unit_test(unknown_names_look_like_known_ones),
        cmocka_unit_test(nonces_are_fresh),
        cmocka_unit_test(first_message_may_come_after_an_empty_challenge),
        cmocka_unit_test(bad_first_messages_are_refused),
        cmocka_unit_test(bad_initial_responses_are_refused),
        cmocka_unit_test(zero_bytes_end_nothing),
        cmocka_unit_test(bad_final_messages_are_refused),
        cmocka_unit_test(other_messages_are_refused),
        cmocka_unit_test(other_auth_types),
        cmocka_unit_test(only_plain_secrets_open_server_connections),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
