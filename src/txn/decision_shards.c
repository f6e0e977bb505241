/*
 * Column `shards` of the decision table (txn/decision.h), and transaction ids.
 *
 * Any role may have written such a text: what is not exactly of its form is no such text.
 */
#include "decision_private.h"
#include "txn_assert.h"

#include <inttypes.h>

void decision_shards_format(struct buf *b, const char *cluster, const char *decider,
                            const struct decision_participant *participants, size_t n)
{
    TXN_ASSERT(n > 0);
    buf_str(b, cluster);
    buf_u8(b, '/');
    buf_str(b, decider);
    for (size_t i = 0; i < n; i++) {
        buf_u8(b, i ? ',' : '/');
        buf_str(b, participants[i].shard);
        if (participants[i].xid) {
            buf_u8(b, ':');
            buf_decimal(b, participants[i].xid);
        }
    }
    *buf_reserve(b, 1) = '\0';
}

size_t decision_shards_bytes(size_t cluster_bytes, size_t names_bytes, size_t n)
{
    return cluster_bytes + names_bytes + n * sizeof "/:18446744073709551615" + 1;
}

/* Digits without leading zeros, not 0. */
static bool take_xid(struct slice s, uint64_t *xid_r)
{
    uint64_t xid = 0;
    if (s.len == 0 || s.len > 20 || s.data[0] == '0')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)s.data[i] - '0';
        if (digit > 9 || xid > (UINT64_MAX - digit) / 10)
            return false;
        xid = xid * 10 + digit;
    }
    *xid_r = xid;
    return true;
}

bool decision_xid_parse(const char *text, uint64_t *xid_r)
{
    return take_xid(slice_str(text), xid_r);
}

uint64_t decision_whole_xid(const char *xid, const char *recent)
{
    uint64_t low, now;
    if (!decision_xid_parse(xid, &low) || low > UINT32_MAX || !decision_xid_parse(recent, &now))
        return 0;
    /* Ids in use are less than 2^31 apart, in either direction. */
    return now + (uint64_t)(int64_t)(int32_t)((uint32_t)low - (uint32_t)now);
}

static bool take_name(struct slice *rest, char name_r[GID_NAME_MAX_BYTES + 1])
{
    const uint8_t *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    if (!slash)
        return false;
    struct slice name = slice_of(rest->data, (size_t)(slash - rest->data));
    if (!gid_name_valid(name))
        return false;
    memcpy(name_r, name.data, name.len);
    name_r[name.len] = '\0';
    *rest = slice_of(slash + 1, rest->len - name.len - 1);
    return true;
}

/* <name> or <name>:<xid> */
static bool take_participant(struct slice s, struct slice *name_r, uint64_t *xid_r)
{
    const uint8_t *colon = s.len ? memchr(s.data, ':', s.len) : NULL;
    *name_r = slice_of(s.data, colon ? (size_t)(colon - s.data) : s.len);
    *xid_r = 0;
    return gid_name_valid(*name_r) &&
           (!colon || take_xid(slice_of(colon + 1, s.len - name_r->len - 1), xid_r));
}

/* Up to the next comma, or all that is left. */
static struct slice take_item(struct slice *rest)
{
    const uint8_t *comma = rest->len ? memchr(rest->data, ',', rest->len) : NULL;
    struct slice item = slice_of(rest->data, comma ? (size_t)(comma - rest->data) : rest->len);
    *rest = comma ? slice_of(comma + 1, rest->len - item.len - 1) : slice_of(NULL, 0);
    return item;
}

bool decision_shards_parse(struct slice text, char cluster_r[GID_NAME_MAX_BYTES + 1],
                           char decider_r[GID_NAME_MAX_BYTES + 1], struct slice *participants_r)
{
    if (!take_name(&text, cluster_r) || !take_name(&text, decider_r))
        return false;
    *participants_r = text;
    struct slice name;
    uint64_t xid;
    if (text.len == 0 || text.data[text.len - 1] == ',')
        return false;
    while (text.len)
        if (!take_participant(take_item(&text), &name, &xid))
            return false;
    return true;
}

bool decision_next_participant(struct slice *participants, struct slice *name_r, uint64_t *xid_r)
{
    return participants->len && take_participant(take_item(participants), name_r, xid_r);
}
