/*
 * Building and reading protocol 3 messages. Builders append one whole message to a buf. Readers check every
 * length and terminator; a message that is not well-formed is an error with SQLSTATE 08P01, and what a reader
 * returned points into the message. Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol",
 * sections "Message Formats" and "Error and Notice Message Fields".
 */
#ifndef PGUNISON_WIRE_MESSAGE_H
#define PGUNISON_WIRE_MESSAGE_H

#include "base/buf.h"
#include "base/error.h"
#include "wire/frame.h"

/* Frontend types */
enum {
    MSG_BIND = 'B',
    MSG_CLOSE = 'C',
    MSG_COPY_FAIL = 'f',
    MSG_DESCRIBE = 'D',
    MSG_EXECUTE = 'E',
    MSG_FLUSH = 'H',
    MSG_FUNCTION_CALL = 'F',
    MSG_PARSE = 'P',
    MSG_PASSWORD = 'p',
    MSG_QUERY = 'Q',
    MSG_SYNC = 'S',
    MSG_TERMINATE = 'X'
};
/* Backend types */
enum {
    MSG_AUTHENTICATION = 'R',
    MSG_BACKEND_KEY_DATA = 'K',
    MSG_BIND_COMPLETE = '2',
    MSG_CLOSE_COMPLETE = '3',
    MSG_COMMAND_COMPLETE = 'C',
    MSG_COPY_IN_RESPONSE = 'G',
    MSG_COPY_OUT_RESPONSE = 'H',
    MSG_COPY_BOTH_RESPONSE = 'W',
    MSG_DATA_ROW = 'D',
    MSG_EMPTY_QUERY = 'I',
    MSG_ERROR = 'E',
    MSG_NEGOTIATE_VERSION = 'v',
    MSG_NO_DATA = 'n',
    MSG_NOTICE = 'N',
    MSG_NOTIFICATION = 'A',
    MSG_PARAMETER_DESCRIPTION = 't',
    MSG_PARAMETER_STATUS = 'S',
    MSG_PARSE_COMPLETE = '1',
    MSG_PORTAL_SUSPENDED = 's',
    MSG_READY = 'Z',
    MSG_ROW_DESCRIPTION = 'T'
};
/* Both ways */
enum { MSG_COPY_DATA = 'd', MSG_COPY_DONE = 'c' };

/* Opens a message and closes it: the length is patched in by message_end(). */
size_t message_begin(struct buf *b, uint8_t type);
void message_end(struct buf *b, size_t begun);

/* Backend messages */
void message_error(struct buf *b, const struct error *e, bool fatal);
/* severity: "WARNING", "NOTICE" */
void message_notice(struct buf *b, const char *severity, const struct error *e);
void message_ready(struct buf *b, char txn_status); /* 'I', 'T', 'E' */
void message_command_complete(struct buf *b, const char *tag);
void message_parameter_status(struct buf *b, const char *name, const char *value);
void message_backend_key(struct buf *b, uint32_t pid, uint32_t secret);
/* ParseComplete, BindComplete, CloseComplete, NoData, EmptyQuery, Sync, Flush, ... */
void message_empty(struct buf *b, uint8_t type);
/* Result sets that the proxy makes itself: all columns text (oid 25, typmod -1) unless type_oids is given. */
void message_row_description(struct buf *b, int n, const char *const *names, const uint32_t *type_oids,
                             const int16_t *formats);
void message_data_row(struct buf *b, int n, const char *const *values /* NULL: SQL NULL */);
void message_data_row_slices(struct buf *b, int n, const struct slice *values /* data NULL: SQL NULL */);

/* Frontend messages */
void message_query(struct buf *b, struct slice sql); /* adds the NUL */
void message_parse(struct buf *b, const char *name, struct slice sql, uint16_t n_oids, const uint32_t *oids);
void message_describe(struct buf *b, char kind /* 'S' or 'P' */, const char *name);
void message_close(struct buf *b, char kind, const char *name);
/* To the unnamed portal; values and results are text. */
void message_bind_text(struct buf *b, const char *statement, uint16_t n, const char *const *values);
void message_execute(struct buf *b, const char *portal, uint32_t max_rows);
void message_copy_fail(struct buf *b, const char *reason);

struct msg_parse {
    const char *name; /* NUL-terminated, in the message */
    struct slice sql; /* without NUL */
    uint16_t n_oids;
    const uint8_t *oids; /* n_oids big-endian uint32 */
};
struct msg_bind {
    const char *portal, *statement;
    uint16_t n_formats;     /* 0: all text; 1: one for all; else one each */
    const uint8_t *formats; /* big-endian int16 */
    uint16_t n_params;
    const uint8_t *params; /* the first parameter's length word */
    /* from n_formats to the end of the message: what follows the two names, for renaming */
    struct slice params_and_rest;
    uint16_t n_result_formats;
    const uint8_t *result_formats; /* big-endian int16 */
};
struct msg_target { /* Describe and Close */
    char kind;      /* 'S' or 'P' */
    const char *name;
};
struct msg_execute {
    const char *portal;
    uint32_t max_rows; /* 0: all */
};

/* without NUL */
enum status message_read_query(const struct frame *f, struct slice *sql_r, struct error *error_r) MUST_CHECK;
enum status message_read_parse(const struct frame *f, struct msg_parse *m_r,
                               struct error *error_r) MUST_CHECK;
/* checks every parameter's length; formats other than 0 and 1: 22023 */
enum status message_read_bind(const struct frame *f, struct msg_bind *m_r, struct error *error_r) MUST_CHECK;
enum status message_read_target(const struct frame *f, struct msg_target *m_r,
                                struct error *error_r) MUST_CHECK;
enum status message_read_execute(const struct frame *f, struct msg_execute *m_r,
                                 struct error *error_r) MUST_CHECK;

/* Parameter i of a Bind that was read. value_r->data == NULL: SQL NULL. format_r: 0 text, 1 binary. */
void msg_bind_param(const struct msg_bind *m, uint16_t i, struct slice *value_r, int16_t *format_r);
/* The same for many parameters, in any order, in time that grows with the message. */
struct msg_bind_values {
    const struct msg_bind *m;
    uint16_t at; /* where the last look-up ended */
    uint16_t n_back;
    const uint8_t *value;  /* of parameter `at` */
    const uint8_t **index; /* of all; made when look-ups go back often */
};
void msg_bind_values_init(struct msg_bind_values *v, const struct msg_bind *m);
void msg_bind_values_free(struct msg_bind_values *v);
void msg_bind_values_get(struct msg_bind_values *v, uint16_t i, struct slice *value_r, int16_t *format_r);
/* Result format of column i: 0 text, 1 binary. */
int16_t msg_bind_result_format(const struct msg_bind *m, uint16_t i);

/* Fields of ErrorResponse / NoticeResponse that matter here; texts are cut to struct error's sizes. */
bool message_is_fatal(const struct frame *f); /* an ErrorResponse: the connection ends behind it */
enum status message_read_error(const struct frame *f, struct error *e_r, struct error *error_r) MUST_CHECK;
/* Appends the shard's ErrorResponse (or Notice) to b as it came, with `context` added: to its CONTEXT field
   if it has one (after a newline), else as one. */
void message_error_with_context(struct buf *b, const struct frame *f, const char *context);

/* CommandComplete: the tag (NUL-terminated in the message), and the count at its end ("INSERT 0 5" gives 5);
 * -1: none. */
enum status message_read_tag(const struct frame *f, const char **tag_r, int64_t *rows_r,
                             struct error *error_r) MUST_CHECK;
enum status message_read_ready(const struct frame *f, char *txn_status_r, struct error *error_r) MUST_CHECK;
enum status message_read_parameter_status(const struct frame *f, const char **name_r, const char **value_r,
                                          struct error *error_r) MUST_CHECK;

struct msg_column { /* one column of a RowDescription */
    const char *name;
    uint32_t table_oid, type_oid;
    int16_t column_no, type_len, format;
    int32_t typmod;
};
/* n_r columns; columns_r has room for cap of them, and more are an error. */
enum status message_read_row_description(const struct frame *f, struct msg_column *columns_r, uint16_t cap,
                                         uint16_t *n_r, struct error *error_r) MUST_CHECK;
void message_row_description_columns(struct buf *b, uint16_t n, const struct msg_column *columns);
/* Values of a DataRow: data NULL is SQL NULL. n_r values; more than cap is an error. */
enum status message_read_data_row(const struct frame *f, struct slice *values_r, uint16_t cap, uint16_t *n_r,
                                  struct error *error_r) MUST_CHECK;
/* ParameterDescription: type OIDs. */
enum status message_read_parameter_description(const struct frame *f, uint32_t *oids_r, uint16_t cap,
                                               uint16_t *n_r, struct error *error_r) MUST_CHECK;

#endif
