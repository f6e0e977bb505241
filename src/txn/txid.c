/*
 * Names of transactions, and what proves a decision about one.
 *
 *   00c0ffee-1a-vkXLJgW_Nr695oSEGijw_UPGmFCj3OX-26aZKO46iZE   8 hex digits, the proxy's; a counter in hex without
 *                                                           leading zeros; sha256 of the secret as base64url
 *   0123456789abcdef0123456789abcdef-1a                       earlier versions: random bits, and a counter
 *
 * The two cannot be taken for each other: the second is shorter than the first's last part and what surrounds it.
 */
#include "txn/gid.h"

#include "base/sha256.h"

#define PROXY_DIGITS         8
#define COUNTER_DIGITS       14
#define RANDOM_DIGITS        32 /* of earlier versions */
#define OLDER_COUNTER_DIGITS 16

static const char hex_digits[] = "0123456789abcdef";
static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void proof_of(const uint8_t secret[TXID_SECRET_BYTES], char proof_r[TXID_PROOF_BYTES])
{
    uint8_t hash[SHA256_BYTES + 1]; /* a zero more: its bits fill up the last digit */
    sha256(secret, TXID_SECRET_BYTES, hash);
    hash[SHA256_BYTES] = 0;
    const uint8_t *from = hash;
    char *to = proof_r;
    for (; to < proof_r + TXID_PROOF_BYTES - 3; from += 3) { /* three bytes are four digits */
        unsigned bits = (unsigned)from[0] << 16 | (unsigned)from[1] << 8 | from[2];
        *to++ = base64url[bits >> 18];
        *to++ = base64url[bits >> 12 & 63];
        *to++ = base64url[bits >> 6 & 63];
        *to++ = base64url[bits & 63];
    }
    unsigned bits = (unsigned)from[0] << 16 | (unsigned)from[1] << 8 | from[2];
    *to++ = base64url[bits >> 18];
    *to++ = base64url[bits >> 12 & 63];
    *to = base64url[bits >> 6 & 63];
}

void txid_make(uint32_t proxy, uint64_t counter, const uint8_t secret[TXID_SECRET_BYTES],
               char txid_r[TXID_MAX_BYTES + 1])
{
    char *at = txid_r;
    for (int shift = 4 * (PROXY_DIGITS - 1); shift >= 0; shift -= 4)
        *at++ = hex_digits[(proxy >> shift) & 15];
    *at++ = '-';
    int shift = 4 * (COUNTER_DIGITS - 1);
    while (shift > 0 && ((counter & TXID_COUNTER_MAX) >> shift) == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *at++ = hex_digits[(counter >> shift) & 15];
    *at++ = '-';
    proof_of(secret, at);
    at[TXID_PROOF_BYTES] = '\0';
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Random or proxy digits, '-', and a counter. */
static bool numbers_valid(struct slice s, size_t first_digits, size_t counter_digits)
{
    if (s.len < first_digits + 2 || s.len > first_digits + 1 + counter_digits)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (i == first_digits ? s.data[i] != '-' : !is_hex(s.data[i]))
            return false;
    return s.data[first_digits + 1] != '0' || s.len == first_digits + 2;
}

/* A digit's value plus one; 0 is no digit. */
/* clang-format off */
static const uint8_t base64url_value[256] = {
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8, ['I'] = 9,
    ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17,
    ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25,
    ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33,
    ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41,
    ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
    ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57,
    ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};
/* clang-format on */

/* The last digit has four bits of the hash and two that are zero. */
static bool proof_form_valid(const uint8_t *proof)
{
    for (size_t i = 0; i < TXID_PROOF_BYTES; i++)
        if (!base64url_value[proof[i]])
            return false;
    return ((base64url_value[proof[TXID_PROOF_BYTES - 1]] - 1) & 3) == 0;
}

static bool valid_with_proof(struct slice s)
{
    size_t front = s.len - TXID_PROOF_BYTES; /* with the '-' */
    return s.len > TXID_PROOF_BYTES && s.data[front - 1] == '-' && proof_form_valid(s.data + front) &&
           numbers_valid(slice_of(s.data, front - 1), PROXY_DIGITS, COUNTER_DIGITS);
}

bool txid_without_proof(struct slice s)
{
    return numbers_valid(s, RANDOM_DIGITS, OLDER_COUNTER_DIGITS);
}

bool txid_valid(struct slice s)
{
    return valid_with_proof(s) || txid_without_proof(s);
}

bool txid_proven(struct slice txid, struct slice proof_hex)
{
    uint8_t secret[TXID_SECRET_BYTES];
    char proof[TXID_PROOF_BYTES];
    if (proof_hex.len != sizeof secret * 2 || !valid_with_proof(txid))
        return false;
    for (size_t i = 0; i < proof_hex.len; i++) {
        const char *digit = proof_hex.data[i] ? strchr(hex_digits, proof_hex.data[i]) : NULL;
        if (!digit)
            return false;
        unsigned value = (unsigned)(digit - hex_digits);
        secret[i / 2] = (uint8_t)(i % 2 ? secret[i / 2] | value : value << 4);
    }
    proof_of(secret, proof);
    return memcmp(proof, txid.data + txid.len - TXID_PROOF_BYTES, sizeof proof) == 0;
}
