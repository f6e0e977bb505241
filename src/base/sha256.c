#include "base/sha256.h"

#include "base/arena.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/evp.h> /* by exception outside of net: a hash, no sockets */

/* What a thread hashes with. Looking SHA-256 up by its name costs more than hashing a short text. */
struct hasher {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
};

static pthread_key_t hashers;
static pthread_once_t hashers_once = PTHREAD_ONCE_INIT;

static void hasher_free(void *hasher)
{
    struct hasher *h = hasher;
    EVP_MD_CTX_free(h->context);
    EVP_MD_free(h->sha256);
    free(h);
}

static void hashers_make(void)
{
    if (pthread_key_create(&hashers, hasher_free) != 0)
        abort();
}

static struct hasher *hasher(void)
{
    pthread_once(&hashers_once, hashers_make);
    struct hasher *h = pthread_getspecific(hashers);
    if (h)
        return h;
    h = xmalloc(sizeof *h);
    h->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    h->context = EVP_MD_CTX_new();
    if (!h->sha256 || !h->context || pthread_setspecific(hashers, h) != 0)
        abort();
    return h;
}

void sha256(const uint8_t *data, size_t len, uint8_t hash_r[SHA256_BYTES])
{
    struct hasher *h = hasher();
    unsigned hashed = 0;
    if (EVP_DigestInit_ex2(h->context, h->sha256, NULL) != 1 ||
        EVP_DigestUpdate(h->context, data, len) != 1 ||
        EVP_DigestFinal_ex(h->context, hash_r, &hashed) != 1 || hashed != SHA256_BYTES)
        abort();
}
