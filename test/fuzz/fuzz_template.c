/*
 * Fuzz target: the lexer against PostgreSQL's scanner (test/unit/sql/scan_oracle.h), values of literals, and
 * splitting.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Itest/unit/sql -D_GNU_SOURCE -pthread \
 *         test/fuzz/fuzz_template.c src/sql/*.c src/base/*.c
 * -lpg_query -lprotobuf-c
 *
 * Texts with NUL bytes never reach the lexer's callers; here they must be refused.
 */
#include "scan_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* Parts are in order, inside of the text, and each of them lexes as one statement or is an error that was
 * there before. */
static void check_split(struct slice sql)
{
    struct error error;
    struct slice *parts = NULL;
    size_t n = 0;
    struct template t;
    template_init(&t);
    if (sql_split(sql, &parts, &n, &error) == STATUS_OK) {
        const uint8_t *at = sql.data;
        for (size_t i = 0; i < n; i++) {
            check(parts[i].len > 0 && parts[i].data >= at, "parts overlap");
            at = parts[i].data + parts[i].len;
            check(at <= sql.data + sql.len, "a part ends outside of the text");
            check(template_lex(&t, parts[i], &error) == STATUS_OK, "a part does not lex");
            check(!t.several, "a part is several statements");
        }
        free(parts);
    }
    template_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template t;
    struct error error;
    struct buf value;
    char why[4096];
    template_init(&t);
    buf_init(&value);
    enum status status = template_lex(&t, slice_of(data, size), &error);
    if (size && memchr(data, 0, size)) {
        check(status == STATUS_ERROR, "a NUL byte was accepted");
    } else {
        for (uint32_t i = 0; status == STATUS_OK && i < t.n_literals; i++)
            (void)template_literal_value(&t, i, &value);
        char *sql = malloc(size + 1);
        if (size)
            memcpy(sql, data, size);
        sql[size] = '\0';
        check(oracle_compare(sql, &t, why, sizeof(why)), why);
        check_split(slice_of(data, size));
        free(sql);
    }
    buf_free(&value);
    template_free(&t);
    return 0;
}
