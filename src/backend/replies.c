/*
 * The tables of replies.h.
 */
#include "replies.h"

#include "wire/message.h"

#include <stdio.h>
#include <stdlib.h>

/* A message of this type may be as large as PostgreSQL itself allows (1 GB and a header). */
#define LARGE  0x40000400u
#define MEDIUM 0x1000000u /* 65535 columns, or parameters, of the longest description */
#define SMALL  0x100000u  /* values of variables, names, tags */

/* Types that are not here may not come. Those of length 0 are nothing but their type. */
const uint32_t reply_limits[256] = {
    [MSG_DATA_ROW] = LARGE,         [MSG_COPY_DATA] = LARGE,         [MSG_ERROR] = LARGE,
    [MSG_NOTICE] = LARGE,           [MSG_ROW_DESCRIPTION] = MEDIUM,  [MSG_PARAMETER_DESCRIPTION] = MEDIUM,
    [MSG_COPY_IN_RESPONSE] = SMALL, [MSG_COPY_OUT_RESPONSE] = SMALL, [MSG_NOTIFICATION] = SMALL,
    [MSG_PARAMETER_STATUS] = SMALL, [MSG_COMMAND_COMPLETE] = 1024,   [MSG_READY] = 1,
};

/* What may come at any time, and changes nothing. */
#define ANY_TIME(state) [MSG_NOTICE] = (state), [MSG_PARAMETER_STATUS] = (state), [MSG_NOTIFICATION] = (state)

/* clang-format off */
const uint8_t reply_table[REPLY_STATES][256] = {
    /* A FATAL error before the connection ends; statement_timeout, too, may strike between the messages of a pipeline. */
    [REPLY_NONE] = {ANY_TIME(REPLY_NONE), [MSG_ERROR] = REPLY_NONE},

    [REPLY_QUERY] = {ANY_TIME(REPLY_QUERY), [MSG_ERROR] = REPLY_FAILED,
                     [MSG_ROW_DESCRIPTION] = REPLY_QUERY_ROWS, [MSG_COMMAND_COMPLETE] = REPLY_QUERY_DONE,
                     [MSG_EMPTY_QUERY] = REPLY_QUERY_DONE},
    /* a rule may answer by several sets of rows */
    [REPLY_QUERY_ROWS] = {ANY_TIME(REPLY_QUERY_ROWS), [MSG_ERROR] = REPLY_FAILED,
                          [MSG_ROW_DESCRIPTION] = REPLY_QUERY_ROWS, [MSG_DATA_ROW] = REPLY_QUERY_ROWS,
                          [MSG_COMMAND_COMPLETE] = REPLY_QUERY_DONE},
    [REPLY_QUERY_OUT] = {ANY_TIME(REPLY_QUERY_OUT), [MSG_ERROR] = REPLY_FAILED,
                         [MSG_COPY_OUT_RESPONSE] = REPLY_QUERY_OUT_DATA},
    [REPLY_QUERY_OUT_DATA] = {ANY_TIME(REPLY_QUERY_OUT_DATA), [MSG_ERROR] = REPLY_FAILED,
                              [MSG_COPY_DATA] = REPLY_QUERY_OUT_DATA, [MSG_COPY_DONE] = REPLY_QUERY_OUT_DONE},
    [REPLY_QUERY_OUT_DONE] = {ANY_TIME(REPLY_QUERY_OUT_DONE), [MSG_ERROR] = REPLY_FAILED,
                              [MSG_COMMAND_COMPLETE] = REPLY_QUERY_DONE},
    [REPLY_QUERY_IN] = {ANY_TIME(REPLY_QUERY_IN), [MSG_ERROR] = REPLY_FAILED,
                        [MSG_COPY_IN_RESPONSE] = REPLY_QUERY_IN_DATA},
    [REPLY_QUERY_IN_DATA] = {ANY_TIME(REPLY_QUERY_IN_DATA), [MSG_ERROR] = REPLY_FAILED,
                             [MSG_COMMAND_COMPLETE] = REPLY_QUERY_DONE},
    [REPLY_QUERY_DONE] = {ANY_TIME(REPLY_QUERY_DONE), [MSG_ERROR] = REPLY_FAILED, [MSG_READY] = REPLY_END,
                          [MSG_ROW_DESCRIPTION] = REPLY_QUERY_ROWS, [MSG_COMMAND_COMPLETE] = REPLY_QUERY_DONE},
    [REPLY_FAILED] = {ANY_TIME(REPLY_FAILED), [MSG_ERROR] = REPLY_FAILED, [MSG_READY] = REPLY_END},

    [REPLY_PARSE] = {ANY_TIME(REPLY_PARSE), [MSG_ERROR] = REPLY_SKIP, [MSG_PARSE_COMPLETE] = REPLY_END},
    [REPLY_BIND] = {ANY_TIME(REPLY_BIND), [MSG_ERROR] = REPLY_SKIP, [MSG_BIND_COMPLETE] = REPLY_END},
    [REPLY_CLOSE] = {ANY_TIME(REPLY_CLOSE), [MSG_ERROR] = REPLY_SKIP, [MSG_CLOSE_COMPLETE] = REPLY_END},
    [REPLY_DESCRIBE_STATEMENT] = {ANY_TIME(REPLY_DESCRIBE_STATEMENT), [MSG_ERROR] = REPLY_SKIP,
                                  [MSG_PARAMETER_DESCRIPTION] = REPLY_DESCRIBE_ROWS},
    [REPLY_DESCRIBE_ROWS] = {ANY_TIME(REPLY_DESCRIBE_ROWS), [MSG_ERROR] = REPLY_SKIP,
                             [MSG_ROW_DESCRIPTION] = REPLY_END, [MSG_NO_DATA] = REPLY_END},
    [REPLY_EXECUTE] = {ANY_TIME(REPLY_EXECUTE), [MSG_ERROR] = REPLY_SKIP, [MSG_DATA_ROW] = REPLY_EXECUTE_ROWS,
                       [MSG_COMMAND_COMPLETE] = REPLY_END, [MSG_EMPTY_QUERY] = REPLY_END,
                       [MSG_PORTAL_SUSPENDED] = REPLY_END},
    [REPLY_EXECUTE_ROWS] = {ANY_TIME(REPLY_EXECUTE_ROWS), [MSG_ERROR] = REPLY_SKIP,
                            [MSG_DATA_ROW] = REPLY_EXECUTE_ROWS, [MSG_COMMAND_COMPLETE] = REPLY_END,
                            [MSG_PORTAL_SUSPENDED] = REPLY_END},
    [REPLY_EXECUTE_OUT] = {ANY_TIME(REPLY_EXECUTE_OUT), [MSG_ERROR] = REPLY_SKIP,
                           [MSG_COPY_OUT_RESPONSE] = REPLY_EXECUTE_OUT_DATA},
    [REPLY_EXECUTE_OUT_DATA] = {ANY_TIME(REPLY_EXECUTE_OUT_DATA), [MSG_ERROR] = REPLY_SKIP,
                                [MSG_COPY_DATA] = REPLY_EXECUTE_OUT_DATA, [MSG_COPY_DONE] = REPLY_EXECUTE_OUT_DONE},
    [REPLY_EXECUTE_OUT_DONE] = {ANY_TIME(REPLY_EXECUTE_OUT_DONE), [MSG_ERROR] = REPLY_SKIP,
                                [MSG_COMMAND_COMPLETE] = REPLY_END},
    [REPLY_EXECUTE_IN] = {ANY_TIME(REPLY_EXECUTE_IN), [MSG_ERROR] = REPLY_SKIP,
                          [MSG_COPY_IN_RESPONSE] = REPLY_EXECUTE_IN_DATA},
    [REPLY_EXECUTE_IN_DATA] = {ANY_TIME(REPLY_EXECUTE_IN_DATA), [MSG_ERROR] = REPLY_SKIP,
                               [MSG_COMMAND_COMPLETE] = REPLY_END},
    [REPLY_SYNC] = {ANY_TIME(REPLY_SYNC), [MSG_ERROR] = REPLY_FAILED, [MSG_READY] = REPLY_END},
};
/* clang-format on */

const uint8_t reply_firsts[EXPECT_TURN + 1][3] = {
    [EXPECT_QUERY] = {REPLY_QUERY, REPLY_QUERY_OUT, REPLY_QUERY_IN},
    [EXPECT_PARSE] = {REPLY_PARSE},
    [EXPECT_BIND] = {REPLY_BIND},
    [EXPECT_DESCRIBE_STATEMENT] = {REPLY_DESCRIBE_STATEMENT},
    [EXPECT_DESCRIBE_PORTAL] = {REPLY_DESCRIBE_ROWS},
    [EXPECT_EXECUTE] = {REPLY_EXECUTE, REPLY_EXECUTE_OUT, REPLY_EXECUTE_IN},
    [EXPECT_CLOSE] = {REPLY_CLOSE},
    [EXPECT_SYNC] = {REPLY_SYNC},
    [EXPECT_TURN] = {REPLY_NONE}, /* nothing is read meanwhile */
};

/* --- content ---------------------------------------------------------------------------------- */

/* Bytes of a body that are still to be read. Failure is sticky: left stays 0. */
struct rest {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static bool take(struct rest *r, size_t n)
{
    r->bad |= r->left < n;
    if (r->bad)
        n = r->left;
    r->at += n;
    r->left -= n;
    return !r->bad;
}

static void take_string(struct rest *r)
{
    const uint8_t *nul = r->left ? memchr(r->at, 0, r->left) : NULL;
    (void)take(r, nul ? (size_t)(nul + 1 - r->at) : r->left + 1);
}

static void take_fields(struct rest *r)
{
    while (!r->bad && r->left > 0 && *r->at != 0) {
        (void)take(r, 1);
        take_string(r);
    }
    (void)take(r, 1);
}

static size_t take_count(struct rest *r)
{
    const uint8_t *at = r->at;
    return take(r, 2) ? load_u16(at) : 0;
}

static void take_columns(struct rest *r)
{
    for (size_t n = take_count(r); n > 0 && !r->bad; n--) {
        take_string(r);
        (void)take(r, 18);
    }
}

bool reply_content_fits(const struct frame *f)
{
    struct rest r = {.at = f->body.data, .left = f->body.len};
    switch (f->type) {
    case MSG_ERROR:
    case MSG_NOTICE:
        take_fields(&r);
        break;
    case MSG_PARAMETER_STATUS:
        take_string(&r);
        take_string(&r);
        break;
    case MSG_NOTIFICATION:
        (void)take(&r, 4);
        take_string(&r);
        take_string(&r);
        break;
    case MSG_COPY_IN_RESPONSE:
    case MSG_COPY_OUT_RESPONSE:
        (void)take(&r, 1);
        (void)take(&r, take_count(&r) * 2);
        break;
    case MSG_ROW_DESCRIPTION:
        take_columns(&r);
        break;
    case MSG_PARAMETER_DESCRIPTION:
        (void)take(&r, take_count(&r) * 4);
        break;
    default:
        return true;
    }
    return !r.bad && r.left == 0;
}

/* --- names ------------------------------------------------------------------------------------ */

static const char *const names[256] = {
    [MSG_AUTHENTICATION] = "Authentication",
    [MSG_BACKEND_KEY_DATA] = "BackendKeyData",
    [MSG_BIND_COMPLETE] = "BindComplete",
    [MSG_CLOSE_COMPLETE] = "CloseComplete",
    [MSG_COMMAND_COMPLETE] = "CommandComplete",
    [MSG_COPY_BOTH_RESPONSE] = "CopyBothResponse",
    [MSG_COPY_DATA] = "CopyData",
    [MSG_COPY_DONE] = "CopyDone",
    [MSG_COPY_IN_RESPONSE] = "CopyInResponse",
    [MSG_COPY_OUT_RESPONSE] = "CopyOutResponse",
    [MSG_DATA_ROW] = "DataRow",
    [MSG_EMPTY_QUERY] = "EmptyQueryResponse",
    [MSG_ERROR] = "ErrorResponse",
    [MSG_NEGOTIATE_VERSION] = "NegotiateProtocolVersion",
    [MSG_NO_DATA] = "NoData",
    [MSG_NOTICE] = "NoticeResponse",
    [MSG_NOTIFICATION] = "NotificationResponse",
    [MSG_PARAMETER_DESCRIPTION] = "ParameterDescription",
    [MSG_PARAMETER_STATUS] = "ParameterStatus",
    [MSG_PARSE_COMPLETE] = "ParseComplete",
    [MSG_PORTAL_SUSPENDED] = "PortalSuspended",
    [MSG_READY] = "ReadyForQuery",
    [MSG_ROW_DESCRIPTION] = "RowDescription",
    ['V'] = "FunctionCallResponse",
};

void reply_name(uint8_t type, char *name_r, size_t size)
{
    if (names[type])
        snprintf(name_r, size, "%s ('%c')", names[type], type);
    else
        snprintf(name_r, size, "unknown type 0x%02X", (unsigned)type);
}
