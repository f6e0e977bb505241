/*
 * Runs the transforms of layer exec for test_exec_server.py, which holds what comes out against a server.
 *
 *     merge SOURCES LIMIT OFFSET HIDDEN [column,descending,nulls_first,c_collated]...
 *     aggregate SOURCES LIMIT OFFSET RESULT_FORMAT [func,column,name,collation]...
 *         in: "source hex", messages of that source (T, D, C); out: hex of the messages that came out
 *     split FORMAT DELIMITER QUOTE ESCAPE NULL HEADER COLUMNS KEY FORCE_NULL FORCE_NOT_NULL MARKER
 *         in: hex of each chunk; out: "all hex" and "row key hex" ("-": NULL)
 *
 * Errors: "error SQLSTATE message".
 */
#include "base/arena.h"
#include "exec/aggregate.h"
#include "exec/copy_split.h"
#include "exec/merge.h"
#include "wire/message.h"
#include <stdio.h>
#include <stdlib.h>

static int fail(const struct error *e)
{
    printf("error %s %s\n", e->sqlstate, e->message);
    return 0;
}

static void print_hex(const char *prefix, struct slice s)
{
    fputs(prefix, stdout);
    for (size_t i = 0; i < s.len; i++)
        printf("%02x", s.data[i]);
}

static void unhex(const char *hex, struct buf *out)
{
    unsigned byte;
    buf_clear(out);
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        buf_u8(out, (uint8_t)byte);
}

/* Calls on_frame for each message of each line of stdin. */
static enum status each_frame(enum status (*on_frame)(void *arg, unsigned source, const struct frame *f,
                                                      struct error *e),
                              void *arg, struct error *e)
{
    char *line = NULL;
    size_t cap = 0, need;
    struct buf bytes;
    enum status status = STATUS_OK;
    buf_init(&bytes);
    while (status == STATUS_OK && getline(&line, &cap, stdin) > 0) {
        struct frame f;
        unsigned source = (unsigned)atoi(line);
        unhex(strchr(line, ' ') + 1, &bytes);
        while (status == STATUS_OK && frame_next(buf_slice(&bytes), UINT32_MAX, &f, &need) == FRAME_OK) {
            status = on_frame(arg, source, &f, e);
            buf_consume(&bytes, f.whole.len);
        }
    }
    free(line);
    buf_free(&bytes);
    return status;
}

/* --- merge ------------------------------------------------------------------------------------ */

struct merging {
    struct merge *m;
    struct buf out;
    enum merge_progress progress;
};

static enum status drain(struct merging *t, struct error *e)
{
    struct shard_set resume;
    t->progress = MERGE_FULL;
    while (t->progress == MERGE_FULL)
        t->progress = merge_drain(t->m, &t->out, buf_len(&t->out) + 100, &resume, e);
    return t->progress == MERGE_FAILED ? STATUS_ERROR : STATUS_OK;
}

static enum status merge_frame(void *arg, unsigned source, const struct frame *f, struct error *e)
{
    struct merging *t = arg;
    enum merge_flow flow;
    enum status status = STATUS_OK;
    const char *tag;
    int64_t rows;
    if (f->type == MSG_ROW_DESCRIPTION)
        status = merge_row_description(t->m, source, f, &t->out, e);
    else if (f->type == MSG_DATA_ROW)
        status = merge_row(t->m, source, f, &flow, e);
    else if (message_read_tag(f, &tag, &rows, e) != STATUS_OK ||
             merge_end(t->m, source, rows, e) != STATUS_OK)
        status = STATUS_ERROR;
    return status == STATUS_OK ? drain(t, e) : STATUS_ERROR;
}

static int probe_merge(int argc, char **argv)
{
    struct merge_sort_key keys[8];
    struct merge_spec spec = {.sort = keys, .n_hidden = (uint16_t)atoi(argv[5])};
    for (int i = 6; i < argc && spec.n_sort < 8; i++) {
        int column, descending, nulls_first, c;
        if (sscanf(argv[i], "%d,%d,%d,%d", &column, &descending, &nulls_first, &c) != 4)
            return 2;
        keys[spec.n_sort++] = (struct merge_sort_key){(uint16_t)column, descending, nulls_first, c};
    }
    struct merge_options o = {.spec = &spec,
                              .n_sources = (unsigned)atoi(argv[2]),
                              .limit = atoll(argv[3]),
                              .offset = atoll(argv[4]),
                              .style = {.iso = true},
                              .describer = -1,
                              .queue_bytes = 1000};
    struct merging t = {.m = merge_create(&o)};
    struct error e;
    if (each_frame(merge_frame, &t, &e) != STATUS_OK)
        fail(&e);
    else if (t.progress != MERGE_DONE)
        puts("not done");
    else
        print_hex("", buf_slice(&t.out)), putchar('\n');
    merge_destroy(&t.m);
    buf_free(&t.out);
    return 0;
}

/* --- aggregate -------------------------------------------------------------------------------- */

static enum status aggregate_frame(void *arg, unsigned source, const struct frame *f, struct error *e)
{
    if (f->type == MSG_ROW_DESCRIPTION)
        return aggregate_row_description(arg, source, f, e);
    return f->type == MSG_DATA_ROW ? aggregate_row(arg, source, f, e) : aggregate_end(arg, source, e);
}

static enum aggregate_func func_of(const char *name)
{
    static const char *const names[] = {"count", "sum", "min", "max", "avg", "bool_and", "bool_or"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return (enum aggregate_func)i;
    fprintf(stderr, "unknown aggregate %s\n", name);
    exit(2);
}

static int probe_aggregate(int argc, char **argv)
{
    struct merge_aggregate aggregates[64];
    struct merge_spec spec = {.aggregates = aggregates};
    for (int i = 6; i < argc && spec.n_aggregates < 64; i++) {
        char *func = strtok(argv[i], ","), *column = strtok(NULL, ","), *name = strtok(NULL, ","),
             *collation = strtok(NULL, ",");
        aggregates[spec.n_aggregates++] = (struct merge_aggregate){.func = (uint8_t)func_of(func),
                                                                   .shard_column = (uint16_t)atoi(column),
                                                                   .name = name,
                                                                   .collation = collation};
    }
    struct aggregate *a = aggregate_create(&spec, (unsigned)atoi(argv[2]), atoll(argv[3]), atoll(argv[4]));
    int16_t format = (int16_t)atoi(argv[5]);
    struct buf out;
    struct error e;
    buf_init(&out);
    if (each_frame(aggregate_frame, a, &e) != STATUS_OK ||
        aggregate_build(a, 1, &format, true, &out, &e) != STATUS_OK) {
        fail(&e);
    } else {
        print_hex("", buf_slice(&out));
        putchar('\n');
    }
    aggregate_destroy(&a);
    buf_free(&out);
    return 0;
}

/* --- split ------------------------------------------------------------------------------------ */

static enum status print_row(void *arg, const struct copy_row *row, struct error *e)
{
    (void)arg, (void)e;
    print_hex("row ", row->key);
    print_hex(row->key.data ? " " : "- ", row->bytes);
    putchar('\n');
    return STATUS_OK;
}

static void print_everywhere(void *arg, struct slice bytes)
{
    (void)arg;
    print_hex("all ", bytes);
    putchar('\n');
}

static int probe_split(char **argv)
{
    struct copy_spec spec = {.format = argv[2][0] == 't'   ? COPY_TEXT
                                       : argv[2][0] == 'c' ? COPY_CSV
                                                           : COPY_BINARY,
                             .delimiter = (uint8_t)argv[3][0],
                             .quote = (uint8_t)argv[4][0],
                             .escape = (uint8_t)argv[5][0],
                             .null_string = argv[6],
                             .header = atoi(argv[7]),
                             .n_columns = (uint16_t)atoi(argv[8]),
                             .key_column = (uint16_t)atoi(argv[9]),
                             .key_force_null = atoi(argv[10]),
                             .key_force_not_null = atoi(argv[11])};
    struct copy_split_options o = {.spec = &spec,
                                   .max_row_bytes = 1 << 20,
                                   .csv_end_marker = atoi(argv[12]),
                                   .sink = {print_row, print_everywhere, NULL}};
    struct copy_split *s = copy_split_create(&o);
    char *line = NULL;
    size_t cap = 0;
    struct buf chunk;
    struct error e;
    enum status status = STATUS_OK;
    buf_init(&chunk);
    while (status == STATUS_OK && getline(&line, &cap, stdin) > 0) {
        unhex(line, &chunk);
        status = copy_split_feed(s, buf_slice(&chunk), &e);
    }
    if (status != STATUS_OK || copy_split_finish(s, &e) != STATUS_OK)
        fail(&e);
    copy_split_destroy(&s);
    free(line);
    buf_free(&chunk);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "merge") == 0)
        return probe_merge(argc, argv);
    if (argc >= 7 && strcmp(argv[1], "aggregate") == 0)
        return probe_aggregate(argc, argv);
    if (argc == 13 && strcmp(argv[1], "split") == 0)
        return probe_split(argv);
    fprintf(stderr, "usage: see the head of exec_probe.c\n");
    return 2;
}
