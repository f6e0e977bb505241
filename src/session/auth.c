/*
 * Who is the client?
 *
 *   STARTED  SASL offered                 [auth_start]
 *     -> FIRST   empty challenge sent, when the client chose the mechanism without a first message
 *     -> FINAL   server-first sent        [client_first]
 *   FIRST -> FINAL                        [client_first]
 *   FINAL -> ENDED  right or wrong        [client_final]
 *   any   -> ENDED  malformed message
 *
 * A user who is not in auth_file, or whose secret cannot serve SCRAM (an MD5 hash, an empty password), goes
 * through the whole exchange and fails at its end with the words of a wrong password; only the log says why.
 * So that neither the salt, the number of iterations nor the time taken gives such a name away, the mock
 * exchange mirrors a real user's, picked by a keyed hash of the name: the same name gives the same salt as
 * long as the process lives, whatever it is mirrored from.
 *
 * Cost: a few hashes for each login, the same ones for everybody. The SCRAM_ITERATIONS rounds of PBKDF2 that a plain
 * password takes (about a millisecond) are done when the configuration is read, on the thread that reads it.
 *
 * Not responsible for: frames' lengths, login timeouts, admin_users, whether the client must use TLS.
 */
#include "session/auth.h"

#include "base/arena.h"
#include "base/log.h"
#include "conf/userlist.h"
#include "scram.h"
#include "wire/message.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    AUTH_REPLY_OK = 0,
    AUTH_REPLY_SASL = 10,
    AUTH_REPLY_SASL_CONTINUE = 11,
    AUTH_REPLY_SASL_FINAL = 12,
};
#define SASL_MESSAGE_MAX 1024 /* as in PostgreSQL; nobody is known yet who could send it */
#define MIRROR_MAX       64

enum auth_state { STARTED, FIRST, FINAL, ENDED };

struct auth {
    enum auth_state state;
    char *user;
    const struct user *known; /* NULL: cannot log in, for the reason in `doomed` */
    const char *doomed;
    struct scram scram;
};

static void put_authentication(struct buf *out, uint32_t code, struct slice data)
{
    size_t begun = message_begin(out, MSG_AUTHENTICATION);
    buf_u32(out, code);
    buf_slice_append(out, data);
    message_end(out, begun);
}

static enum auth_step refuse(struct error *error_r, const char *user)
{
    error_set(error_r, SQLSTATE_INVALID_PASSWORD, "password authentication failed for user \"%s\"", user);
    return AUTH_FAILED;
}

static enum auth_step no_such_method(struct error *error_r, const char *method)
{
    error_set(error_r, SQLSTATE_INVALID_AUTHORIZATION, "authentication method \"%s\" is not supported yet",
              method);
    error_hint(error_r, "Set auth_type to scram-sha-256 in pgunison's configuration.");
    return AUTH_FAILED;
}

/* Does the secret prove anything in SCRAM? NULL: it does; else why not. */
static const char *unfit_for_scram(const struct user *u)
{
    if (!u)
        return "no such user in auth_file";
    switch (u->kind) {
    case SECRET_SCRAM:
        return NULL;
    case SECRET_PLAIN:
        if (!u->secret[0])
            return "the user has an empty password";
        return u->derived ? NULL : "nothing has been derived from the user's password";
    case SECRET_MD5:
        return "the user's secret in auth_file is an MD5 hash, which cannot serve scram-sha-256";
    }
    return "unknown kind of secret";
}

/* A user whose exchange the one for an unknown name is to look like; NULL: there is none. Bounded, so that a
   long auth_file costs no time that could be measured. */
static const struct user *mirrored_user(const struct userlist *users, const char *name)
{
    uint8_t mac[SCRAM_KEY_BYTES];
    struct hashmap_iter it;
    struct slice key;
    void *value;
    const struct user *fit[MIRROR_MAX];
    uint32_t n = 0;
    size_t seen = 0;
    hashmap_iter_init(&users->by_name, &it);
    while (seen++ < MIRROR_MAX && hashmap_next(&users->by_name, &it, &key, &value))
        if (!unfit_for_scram(value))
            fit[n++] = value;
    if (n == 0)
        return NULL;
    scram_process_hmac("mirror", name, mac);
    return fit[load_u32(mac) % n];
}

/* Salt and iterations: the user's own, or derived from the name. What is not needed is computed all the same. */
static void begin_exchange(struct auth *a, const struct config *config)
{
    const struct user *like = mirrored_user(&config->users, a->user);
    uint8_t salt[2 * SCRAM_KEY_BYTES];
    scram_process_hmac("salt", a->user, salt);
    scram_process_hmac("more salt", a->user, salt + SCRAM_KEY_BYTES);
    struct slice s = slice_of(salt, like ? like->salt_len : SCRAM_SALT_BYTES);
    if (a->known) {
        like = a->known;
        s = slice_of(like->salt, like->salt_len);
    }
    scram_init(&a->scram, s, like ? like->iterations : SCRAM_ITERATIONS, NULL);
}

static void prepare(struct user *u, const struct user *old)
{
    uint8_t salt[SCRAM_KEY_BYTES];
    if (u->kind != SECRET_PLAIN || !u->secret[0] || u->derived)
        return;
    scram_process_hmac("salt", u->name, salt);
    memcpy(u->salt, salt, SCRAM_SALT_BYTES);
    u->salt_len = SCRAM_SALT_BYTES;
    u->iterations = SCRAM_ITERATIONS;
    if (old && old->derived && strcmp(old->secret, u->secret) == 0) {
        memcpy(u->stored_key, old->stored_key, sizeof u->stored_key);
        memcpy(u->server_key, old->server_key, sizeof u->server_key);
    } else {
        scram_derive_keys(slice_str(u->secret), slice_of(u->salt, u->salt_len), u->iterations, u->stored_key,
                          u->server_key);
    }
    u->derived = true;
}

void auth_prepare(struct config *config, const struct config *old)
{
    struct hashmap_iter it;
    struct slice key;
    void *value;
    if (config->settings.auth_type != AUTH_SCRAM)
        return;
    hashmap_iter_init(&config->users.by_name, &it);
    while (hashmap_next(&config->users.by_name, &it, &key, &value)) {
        struct user *u = value;
        prepare(u, old ? userlist_find(&old->users, u->name) : NULL);
    }
}

enum auth_step auth_start(const struct config *config, const char *user, struct auth **auth_r,
                          struct buf *out, struct error *error_r)
{
    const struct user *known = userlist_find(&config->users, user);
    *auth_r = NULL;
    switch (config->settings.auth_type) {
    case AUTH_TRUST:
        if (!known) {
            error_set(error_r, SQLSTATE_INVALID_AUTHORIZATION, "user \"%s\" is not listed in auth_file",
                      user);
            error_hint(error_r, "Add the user to pgunison's auth_file, or set auth_type to any.");
            return AUTH_FAILED;
        }
        put_authentication(out, AUTH_REPLY_OK, slice_of(NULL, 0));
        return AUTH_OK;
    case AUTH_ANY:
        put_authentication(out, AUTH_REPLY_OK, slice_of(NULL, 0));
        return AUTH_OK;
    case AUTH_MD5:
        return no_such_method(error_r, "md5");
    case AUTH_CERT:
        return no_such_method(error_r, "cert");
    case AUTH_SCRAM:
        break;
    }
    struct auth *a = xcalloc(1, sizeof *a);
    a->user = xstrdup(user);
    a->doomed = unfit_for_scram(known);
    a->known = a->doomed ? NULL : known;
    begin_exchange(a, config);
    /* The list of mechanisms: one name, and the empty one that ends it. */
    put_authentication(out, AUTH_REPLY_SASL, slice_of(SCRAM_MECHANISM "\0", sizeof SCRAM_MECHANISM + 1));
    *auth_r = a;
    return AUTH_MORE;
}

static enum auth_step malformed(struct auth *a, struct error *error_r, const char *detail)
{
    a->state = ENDED;
    error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "malformed SASL message");
    error_detail(error_r, "%s", detail);
    return AUTH_FAILED;
}

static enum auth_step client_first(struct auth *a, struct slice msg, struct buf *out, struct error *error_r)
{
    struct buf text;
    if (scram_read_client_first(&a->scram, msg, error_r) != STATUS_OK) {
        a->state = ENDED;
        return AUTH_FAILED;
    }
    buf_init(&text);
    scram_put_server_first(&a->scram, &text);
    put_authentication(out, AUTH_REPLY_SASL_CONTINUE, buf_slice(&text));
    buf_free(&text);
    a->state = FINAL;
    return AUTH_MORE;
}

/* SASLInitialResponse: the mechanism's name, then -1 or a length and the client's first message. */
static enum auth_step initial_response(struct auth *a, struct slice body, struct buf *out,
                                       struct error *error_r)
{
    const uint8_t *end = body.len ? memchr(body.data, '\0', body.len) : NULL;
    if (!end)
        return malformed(a, error_r, "The name of the mechanism does not end.");
    size_t used = (size_t)(end - body.data) + 1;
    if (strcmp((const char *)body.data, SCRAM_MECHANISM) != 0)
        return malformed(a, error_r, "The client chose a mechanism that was not offered.");
    if (body.len < used + 4)
        return malformed(a, error_r, "The length of the first message is missing.");
    uint32_t len = load_u32(body.data + used);
    used += 4;
    if (len == UINT32_MAX) {
        if (body.len != used)
            return malformed(a, error_r, "Bytes follow a first message that is not there.");
        put_authentication(out, AUTH_REPLY_SASL_CONTINUE, slice_of(NULL, 0));
        a->state = FIRST;
        return AUTH_MORE;
    }
    if (body.len - used != len)
        return malformed(a, error_r, "The length of the first message is not that of what follows.");
    return client_first(a, slice_of(body.data + used, len), out, error_r);
}

static enum auth_step client_final(struct auth *a, struct slice msg, struct buf *out, struct error *error_r)
{
    uint8_t stored_key[SCRAM_KEY_BYTES], server_key[SCRAM_KEY_BYTES];
    struct buf text;
    a->state = ENDED;
    if (scram_read_client_final(&a->scram, msg, error_r) != STATUS_OK)
        return AUTH_FAILED;
    scram_process_hmac("stored key", a->user, stored_key); /* unknown users' keys, computed for everybody */
    scram_process_hmac("server key", a->user, server_key);
    if (a->known) {
        memcpy(stored_key, a->known->stored_key, sizeof stored_key);
        memcpy(server_key, a->known->server_key, sizeof server_key);
    }
    bool right = scram_proof_is_right(&a->scram, stored_key) && a->known;
    if (right) {
        buf_init(&text);
        scram_put_server_final(&a->scram, server_key, &text);
        put_authentication(out, AUTH_REPLY_SASL_FINAL, buf_slice(&text));
        put_authentication(out, AUTH_REPLY_OK, slice_of(NULL, 0));
        buf_free(&text);
    }
    explicit_bzero(stored_key, sizeof stored_key);
    explicit_bzero(server_key, sizeof server_key);
    if (right)
        return AUTH_OK;
    log_info("user \"%s\" cannot log in: %s", a->user, a->known ? "wrong password" : a->doomed);
    return refuse(error_r, a->user);
}

enum auth_step auth_continue(struct auth *a, const struct frame *f, struct buf *out, struct error *error_r)
{
    if (f->type != MSG_PASSWORD) {
        a->state = ENDED;
        error_set(error_r, SQLSTATE_PROTOCOL_VIOLATION, "expected SASL response, got message type %d",
                  f->type);
        return AUTH_FAILED;
    }
    if (f->body.len > SASL_MESSAGE_MAX)
        return malformed(a, error_r, "The message is too long.");
    switch (a->state) {
    case STARTED:
        return initial_response(a, f->body, out, error_r);
    case FIRST:
        return client_first(a, f->body, out, error_r);
    case FINAL:
        return client_final(a, f->body, out, error_r);
    case ENDED:
        break;
    }
    return malformed(a, error_r, "The exchange has ended.");
}

void auth_destroy(struct auth **a)
{
    if (!*a)
        return;
    scram_deinit(&(*a)->scram);
    free((*a)->user);
    free(*a);
    *a = NULL;
}

const char *auth_server_password(const struct config *config, const char *user)
{
    const struct user *u = userlist_find(&config->users, user);
    return u && u->kind == SECRET_PLAIN && u->secret[0] ? u->secret : NULL;
}
