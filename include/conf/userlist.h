/*
 * auth_file: lines of "name" "secret", a quote inside doubled, ';' or '#' begins a comment line. The secret
 * is a plain password, md5 + 32 hex digits, or a SCRAM-SHA-256 verifier as pg_authid.rolpassword holds it:
 * SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> (RFC 5803).
 */
#ifndef PGUNISON_CONF_USERLIST_H
#define PGUNISON_CONF_USERLIST_H

#include "base/error.h"
#include "base/hashmap.h"

enum secret_kind { SECRET_PLAIN, SECRET_MD5, SECRET_SCRAM };

struct user {
    const char *name;
    enum secret_kind kind;
    const char *secret; /* as written; PLAIN "" means no password login */
    /* SCRAM: decoded. PLAIN: derived by auth_prepare() (session/auth.h), `derived` says so */
    bool derived;
    uint32_t iterations;
    uint8_t salt[64];
    size_t salt_len;
    uint8_t stored_key[32], server_key[32];
};

struct userlist {
    struct hashmap by_name; /* name -> struct user */
};

const struct user *userlist_find(const struct userlist *ul, const char *name);

#endif
