/* What a client that nobody knows yet may send: the first byte chooses the user, the rest is a stream of
 * messages for the exchange. Nobody gets in without a password; a message that is refused ends the exchange
 * for good. */
#include "base/arena.h"
#include "session/auth.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct user plain = {.name = "plain", .kind = SECRET_PLAIN, .secret = "pencil"};
static struct user verified = {.name = "verified", .kind = SECRET_SCRAM, .iterations = 1, .salt_len = 16};
static struct config config;

static const char *user_of(uint8_t byte)
{
    static const char *const names[] = {"verified", "plain", "nobody", ""};
    if (!config.users.by_name.count) {
        hashmap_init(&config.users.by_name);
        hashmap_put(&config.users.by_name, slice_str(plain.name), &plain);
        hashmap_put(&config.users.by_name, slice_str(verified.name), &verified);
        config.settings.auth_type = AUTH_SCRAM;
        auth_prepare(&config, NULL);
    }
    return names[byte % 4];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct auth *auth;
    struct buf out;
    struct error error;
    struct frame f;
    size_t need;
    if (size < 1)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    buf_init(&out);
    if (auth_start(&config, user_of(data[0]), &auth, &out, &error) != AUTH_MORE)
        abort();
    bool failed = false;
    while (frame_next(rest, 4096, &f, &need) == FRAME_OK) {
        enum auth_step step = auth_continue(auth, &f, &out, &error);
        if (step == AUTH_OK || (failed && step != AUTH_FAILED))
            abort();
        failed = failed || step == AUTH_FAILED;
        rest = slice_of(rest.data + f.whole.len, rest.len - f.whole.len);
    }
    auth_destroy(&auth);
    buf_free(&out);
    return 0;
}
