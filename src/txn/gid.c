/*
 * Names of the prepared parts of transactions:
 *
 *   pgunison/<cluster>/<decider>/<txid>/<participant>
 *
 * A gid found on a shard is all that a resolver knows of a transaction, and it may have been put there by
 * anyone: what is not exactly of this form, with a decider other than the participant, is not ours and nobody
 * here touches it.
 */
#include "txn/gid.h"

#define GID_PREFIX "pgunison/"

bool gid_name_valid(struct slice s)
{
    if (s.len == 0 || s.len > GID_NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '.' || c == '-'))
            return false;
    }
    return true;
}

static enum status check_name(const char *what, const char *name, struct error *error_r)
{
    if (gid_name_valid(slice_str(name)))
        return STATUS_OK;
    error_set(error_r, SQLSTATE_CONFIG, "invalid %s name \"%s\"", what, name);
    error_hint(error_r, "Names are 1 to %d characters out of A-Z, a-z, 0-9, \"_\", \".\" and \"-\".",
               GID_NAME_MAX_BYTES);
    return STATUS_ERROR;
}

enum status gid_format(const struct gid *g, char text_r[GID_MAX_BYTES + 1], struct error *error_r)
{
    if (check_name("cluster", g->cluster, error_r) || check_name("shard", g->decider, error_r) ||
        check_name("shard", g->participant, error_r))
        return STATUS_ERROR;
    if (!txid_valid(slice_str(g->txid)))
        return error_set(error_r, SQLSTATE_INTERNAL, "invalid transaction identifier \"%s\"", g->txid);
    if (strcmp(g->decider, g->participant) == 0)
        return error_set(error_r, SQLSTATE_INTERNAL,
                         "shard \"%s\" cannot decide a transaction and be prepared in it", g->decider);
    const char *const parts[] = {GID_PREFIX, g->cluster, "/", g->decider, "/", g->txid, "/", g->participant};
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t len = strlen(parts[i]);
        if (n + len <= GID_MAX_BYTES)
            memcpy(text_r + n, parts[i], len);
        n += len;
    }
    if (n > GID_MAX_BYTES)
        return error_set(error_r, SQLSTATE_PROGRAM_LIMIT,
                         "name of a prepared transaction would have %zu bytes, the limit is %d", n,
                         GID_MAX_BYTES);
    text_r[n] = '\0';
    return STATUS_OK;
}

/* Takes the bytes up to the next '/', or, for the last part, all that are left. */
static bool take_part(struct slice *rest, bool last, char *to, size_t max_bytes)
{
    const uint8_t *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    if (last != (slash == NULL))
        return false;
    size_t len = slash ? (size_t)(slash - rest->data) : rest->len;
    if (len == 0 || len > max_bytes)
        return false;
    memcpy(to, rest->data, len);
    to[len] = '\0';
    *rest = slash ? slice_of(slash + 1, rest->len - len - 1) : slice_of(NULL, 0);
    return strlen(to) == len;
}

bool gid_parse(struct slice text, struct gid *g_r)
{
    struct gid g;
    char again[GID_MAX_BYTES + 1];
    struct error ignored;
    size_t prefix_len = strlen(GID_PREFIX);
    if (text.len <= prefix_len || text.len > GID_MAX_BYTES || memcmp(text.data, GID_PREFIX, prefix_len) != 0)
        return false;
    struct slice rest = slice_of(text.data + prefix_len, text.len - prefix_len);
    if (!take_part(&rest, false, g.cluster, GID_NAME_MAX_BYTES) ||
        !take_part(&rest, false, g.decider, GID_NAME_MAX_BYTES) ||
        !take_part(&rest, false, g.txid, TXID_MAX_BYTES) ||
        !take_part(&rest, true, g.participant, GID_NAME_MAX_BYTES))
        return false;
    if (gid_format(&g, again, &ignored) || !slice_eq_str(text, again))
        return false;
    *g_r = g;
    return true;
}
