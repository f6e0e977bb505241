/*
 * Errors as PostgreSQL words them. Fallible functions return enum status and fill a struct error that the
 * caller owns; on STATUS_OK the error is left as it was.
 */
#ifndef PGUNISON_BASE_ERROR_H
#define PGUNISON_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum status { STATUS_OK = 0, STATUS_ERROR = -1 };

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* SQLSTATEs raised by the proxy itself (PostgreSQL appendix A). */
#define SQLSTATE_CONNECTION_FAILURE     "08006"
#define SQLSTATE_OUTCOME_UNKNOWN        "08007"
#define SQLSTATE_PROTOCOL_VIOLATION     "08P01"
#define SQLSTATE_FEATURE_NOT_SUPPORTED  "0A000"
#define SQLSTATE_RESERVED_NAME          "42939"
#define SQLSTATE_INVALID_TEXT           "22P02"
#define SQLSTATE_INVALID_BINARY         "22P03"
#define SQLSTATE_NUMERIC_RANGE          "22003"
#define SQLSTATE_NOT_NULL_VIOLATION     "23502"
#define SQLSTATE_NO_ACTIVE_TRANSACTION  "25P01"
#define SQLSTATE_IN_FAILED_TRANSACTION  "25P02"
#define SQLSTATE_ACTIVE_TRANSACTION     "25001"
#define SQLSTATE_INVALID_STATEMENT_NAME "26000"
#define SQLSTATE_INVALID_AUTHORIZATION  "28000"
#define SQLSTATE_INVALID_PASSWORD       "28P01"
#define SQLSTATE_INVALID_CURSOR_NAME    "34000"
#define SQLSTATE_UNKNOWN_DATABASE       "3D000"
#define SQLSTATE_INVALID_SAVEPOINT      "3B001"
#define SQLSTATE_SERIALIZATION_FAILURE  "40001"
#define SQLSTATE_SYNTAX_ERROR           "42601"
#define SQLSTATE_UNDEFINED_OBJECT       "42704"
#define SQLSTATE_DUPLICATE_STATEMENT    "42P05"
#define SQLSTATE_BAD_COPY_FORMAT        "22P04"
#define SQLSTATE_NO_RESOURCES           "53000"
#define SQLSTATE_OUT_OF_MEMORY          "53200"
#define SQLSTATE_TOO_MANY_CONNECTIONS   "53300"
#define SQLSTATE_PROGRAM_LIMIT          "54000"
#define SQLSTATE_TOO_COMPLEX            "54001"
#define SQLSTATE_QUERY_CANCELED         "57014"
#define SQLSTATE_ADMIN_SHUTDOWN         "57P01"
#define SQLSTATE_IDLE_TIMEOUT           "57P05"
#define SQLSTATE_CONFIG                 "F0000"
#define SQLSTATE_INTERNAL               "XX000"

struct error {
    char sqlstate[6];
    char message[256];
    char detail[384];
    char hint[256];
};

/* Fills sqlstate and message, clears detail and hint. Always returns STATUS_ERROR: `return error_set(...)`.
 */
enum status error_set(struct error *error_r, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Adds to an error that was set. */
void error_detail(struct error *error, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_hint(struct error *error, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* An error that is kept for later: NULL, or memory of its own, for errors are large and rare. */
void error_keep(struct error **kept, const struct error *e); /* instead of what is kept */
void error_drop(struct error **kept);
bool error_take(struct error **kept, struct error *error_r); /* false: there is none */

#endif
