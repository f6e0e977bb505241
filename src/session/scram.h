/* One SCRAM-SHA-256 exchange, server side: the texts of RFC 5802 (section 7) and the arithmetic behind them.
 * Private to the layer. */
#ifndef PGUNISON_SRC_SESSION_SCRAM_H
#define PGUNISON_SRC_SESSION_SCRAM_H

#include "base/buf.h"
#include "base/error.h"

#define SCRAM_MECHANISM   "SCRAM-SHA-256"
#define SCRAM_KEY_BYTES   32
#define SCRAM_SALT_BYTES  16
#define SCRAM_SALT_MAX    64
#define SCRAM_NONCE_BYTES 18
#define SCRAM_ITERATIONS  4096

struct scram {
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_len;
    uint32_t iterations;
    char gs2_flag; /* 'n' or 'y'; 0: the first message has not been read */
    char server_nonce[64];
    struct buf nonce; /* the client's, then ours */
    struct buf
        auth_message; /* client-first-bare,server-first,client-final-without-proof: grows with the exchange */
    uint8_t proof[SCRAM_KEY_BYTES];
};

/* server_nonce NULL: a random one. */
void scram_init(struct scram *s, struct slice salt, uint32_t iterations, const char *server_nonce);
void scram_deinit(struct scram *s);

/* In this order, each once. Errors are 08P01 (malformed) and 0A000 (an extension that is not served). */
enum status scram_read_client_first(struct scram *s, struct slice msg, struct error *error_r) MUST_CHECK;
void scram_put_server_first(struct scram *s, struct buf *out);
enum status scram_read_client_final(struct scram *s, struct slice msg, struct error *error_r) MUST_CHECK;
/* Takes the same time whatever the answer is. */
bool scram_proof_is_right(const struct scram *s, const uint8_t stored_key[SCRAM_KEY_BYTES]);
void scram_put_server_final(const struct scram *s, const uint8_t server_key[SCRAM_KEY_BYTES],
                            struct buf *out);

/* Milliseconds of work: iterations rounds of PBKDF2. */
void scram_derive_keys(struct slice password, struct slice salt, uint32_t iterations,
                       uint8_t stored_key_r[SCRAM_KEY_BYTES], uint8_t server_key_r[SCRAM_KEY_BYTES]);
/* A number of this process for a text: nobody outside can compute it. */
void scram_process_hmac(const char *purpose, const char *text, uint8_t out[SCRAM_KEY_BYTES]);

#endif
