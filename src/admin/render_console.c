/* Answers as messages of the protocol, for a simple query: text format throughout. */
#include "answer.h"

#include "wire/message.h"

static void columns(struct answer *a)
{
    const char *names[ANSWER_MAX_COLUMNS];
    uint32_t types[ANSWER_MAX_COLUMNS];
    for (int i = 0; i < a->n_columns; i++) {
        names[i] = a->columns[i].name;
        types[i] = a->columns[i].type;
    }
    message_row_description(&a->out, a->n_columns, names, types, NULL);
}

static void row(struct answer *a)
{
    message_data_row(&a->out, a->n, a->values);
}

static void notice(struct answer *a, const struct error *e)
{
    message_notice(&a->out, "NOTICE", e);
}

static void done(struct answer *a, const char *tag)
{
    if (tag)
        message_command_complete(&a->out, tag);
    else
        message_empty(&a->out, MSG_EMPTY_QUERY);
}

static void error(struct answer *a, const struct error *e)
{
    message_error(&a->out, e, false);
}

const struct renderer render_console = {
    .columns = columns, .row = row, .notice = notice, .done = done, .error = error};
