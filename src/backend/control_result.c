/*
 * From libpq's results of one message to one answer: the last statement's tag, the rows of the last that
 * returned any, or the first error. Results live until done() has returned.
 *
 * Not responsible for: connections and their states (control_line.c).
 */
#include "base/arena.h"
#include "control_private.h"
#include <stdlib.h>

void results_forget(struct line *l)
{
    PQclear(l->rows);
    if (l->last != l->rows)
        PQclear(l->last);
    l->rows = l->last = NULL;
}

/* Keeps what the answer needs. False: copying, which nobody here can serve. */
bool results_keep(struct line *l, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        PQclear(result);
        return false;
    default:
        break;
    }
    if (l->last && PQresultStatus(l->last) == PGRES_FATAL_ERROR) {
        PQclear(result); /* the first error tells why */
        return true;
    }
    if (l->last && l->last != l->rows)
        PQclear(l->last);
    l->last = result;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        PQclear(l->rows);
        l->rows = result;
    }
    return true;
}

void results_error(const PGresult *result, struct error *error_r)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    (void)error_set(error_r, sqlstate ? sqlstate : SQLSTATE_CONNECTION_FAILURE, "%s",
                    message ? message : PQresultErrorMessage(result));
    if (detail)
        error_detail(error_r, "%s", detail);
    if (hint)
        error_hint(error_r, "%s", hint);
}

/* rows[i][j], in one allocation. */
static const char *const *const *build_rows(const PGresult *result, size_t n, size_t columns)
{
    const char ***rows = xmalloc(n * sizeof(*rows) + n * columns * sizeof(**rows) + 1);
    const char **cells = (const char **)(rows + n);
    for (size_t i = 0; i < n; i++) {
        rows[i] = cells + i * columns;
        for (size_t j = 0; j < columns; j++)
            rows[i][j] = PQgetisnull(result, (int)i, (int)j) ? NULL : PQgetvalue(result, (int)i, (int)j);
    }
    return (const char *const *const *)rows;
}

/* The results leave the line first: done() may make it send the next. */
void results_answer(struct line *l, struct request *r, char txn_status)
{
    PGresult *rows = l->rows, *last = l->last;
    l->rows = l->last = NULL;
    struct error why;
    struct control_result result = {.ok = last && PQresultStatus(last) != PGRES_FATAL_ERROR,
                                    .txn_status = txn_status};
    if (!result.ok) {
        if (last)
            results_error(last, &why);
        else
            (void)error_set(&why, SQLSTATE_PROTOCOL_VIOLATION, "shard \"%s\" answered nothing", l->shard);
        result.error = &why;
    } else {
        result.tag = PQcmdStatus(last);
        if (rows) {
            result.n_rows = (size_t)PQntuples(rows);
            result.n_columns = (size_t)PQnfields(rows);
            result.rows = build_rows(rows, result.n_rows, result.n_columns);
        }
    }
    request_answer(r, &result);
    free((void *)(uintptr_t)result.rows);
    PQclear(rows);
    if (last != rows)
        PQclear(last);
}
