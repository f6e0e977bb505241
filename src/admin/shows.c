/* All SHOWs: their tables together, how each place is asked, and SHOW HELP, which lists them. */
#include "shows.h"

#include "orders.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define HELP_LINE 60

static void fill_help(struct question *q);
static const struct show shows_help[] = {
    {.name = "help", .place = SHOW_HERE, .fill = fill_help},
    {.name = "active_sockets", .place = SHOW_NOT_YET},
    {.name = "deadlocks", .place = SHOW_NOT_YET},
    {.name = "dns_hosts", .place = SHOW_NOT_YET},
    {.name = "dns_zones", .place = SHOW_NOT_YET},
    {.name = "fds", .place = SHOW_NOT_YET},
    {.name = "peer_pools", .place = SHOW_NOT_YET},
    {.name = "peers", .place = SHOW_NOT_YET},
    {.name = "sockets", .place = SHOW_NOT_YET},
    {.name = "totals", .place = SHOW_NOT_YET},
    {0},
};
static const struct show *const groups[] = {shows_help,   shows_local,   shows_clients, shows_pools,
                                            shows_memory, shows_control, shows_tables,  shows_transaction};
#define N_GROUPS (sizeof groups / sizeof groups[0])

const struct show *show_find(const char *name)
{
    for (size_t g = 0; g < N_GROUPS; g++)
        for (const struct show *s = groups[g]; s->name; s++)
            if (strcasecmp(s->name, name) == 0)
                return s;
    return NULL;
}

/* --- how each place is asked ------------------------------------------------------------------ */

void show_done(struct question *q)
{
    answer_done(&q->answer, "SHOW");
    question_return(q);
}

static void fill_at_home(struct question *q)
{
    if (q->command.show->fill)
        q->command.show->fill(q);
    answer_done(&q->answer, "SHOW");
    question_answer(q);
}

static void fill_on_control(struct question *q)
{
    q->command.show->fill(q);
    show_done(q);
}

void show_begin(struct question *q)
{
    const struct show *s = q->command.show;
    if (s->n_columns > 0)
        answer_columns(&q->answer, s->columns, s->n_columns);
    switch (s->place) {
    case SHOW_HERE:
    case SHOW_NOT_YET: /* command.c makes CMD_NOT_YET of it */
        fill_at_home(q);
        break;
    case SHOW_CONTROL:
        question_on_control(q, fill_on_control);
        break;
    case SHOW_WORKERS:
        question_round(q, s->visit, fill_at_home);
        break;
    case SHOW_SHARDS:
        question_on_control(q, s->fill);
        break;
    }
}

/* --- help ------------------------------------------------------------------------------------- */

static void append_upper(struct buf *b, const char *name)
{
    for (; *name; name++)
        buf_u8(b, (uint8_t)toupper((unsigned char)*name));
}

/* "SHOW A|B|C", in lines of some length. */
static void list_shows(struct buf *b)
{
    size_t begun = 0;
    for (size_t g = 0; g < N_GROUPS; g++)
        for (const struct show *s = groups[g]; s->name; s++) {
            if (s->place == SHOW_NOT_YET || s->usage)
                continue;
            bool fits = begun > 0 && buf_len(b) - begun + strlen(s->name) < HELP_LINE;
            if (!fits)
                begun = buf_len(b) + 1;
            buf_str(b, fits ? "|" : "\n\tSHOW ");
            append_upper(b, s->name);
        }
}

static void list_shows_of_something(struct buf *b)
{
    for (size_t g = 0; g < N_GROUPS; g++)
        for (const struct show *s = groups[g]; s->name; s++)
            if (s->usage) {
                buf_str(b, "\n\tSHOW ");
                append_upper(b, s->name);
                buf_printf(b, " %s", s->usage);
            }
}

static void fill_help(struct question *q)
{
    struct error e;
    struct buf b;
    const struct order *o;
    buf_init(&b);
    list_shows(&b);
    list_shows_of_something(&b);
    for (size_t i = 0; (o = order_at(i)); i++) {
        if (!o->run)
            continue;
        buf_str(&b, "\n\t");
        append_upper(&b, o->name);
        buf_printf(&b, "%s%s", o->usage ? " " : "", o->usage ? o->usage : "");
    }
    buf_str(&b, "\n\tSET key = value");
    buf_u8(&b, 0);
    (void)error_set(&e, "00000", "Console usage");
    error_detail(&e, "%s", (const char *)buf_head(&b));
    answer_notice(&q->answer, &e);
    buf_free(&b);
}
