/*
 * Statements of any size, for what must grow no faster than they do: planning and reading keys.
 *
 * A shape is a head, items with a separator between them, and a tail. In an item '@' stands for its number, counted from 1,
 * and '?' for the number before it.
 */
#ifndef GROWTH_SHAPES_H
#define GROWTH_SHAPES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct growth_shape {
    const char *name, *head, *item, *separator, *tail;
    uint32_t most; /* a larger one is refused, by the protocol or with 54000 or 54001 */
    uint32_t each; /* the parameter numbers that an item takes; 0: none */
};

#define GROWTH_ANY 50000

static const struct growth_shape growth_shapes[] = {
    {"or of literals", "select * from customers where ", "id = @", " or ", "", GROWTH_ANY, 0},
    {"or of parameters", "select * from customers where ", "id = $@", " or ", "", GROWTH_ANY, 1},
    {"or of lists", "select * from customers where ", "id in (@, ?)", " or ", "", GROWTH_ANY, 0},
    {"or of ands", "select * from customers where ", "(id = @ and flag)", " or ", "", GROWTH_ANY, 0},
    {"or of wide ands", "select * from customers where (id = 1 and parent = 2) or (", "id = @ and parent = ?",
     " and ", ")", GROWTH_ANY, 0},
    {"or of rows", "select * from customers where ", "(id, parent) = (@, ?)", " or ", "", GROWTH_ANY, 0},
    {"and of literals", "select * from customers where ", "id = @", " and ", "", GROWTH_ANY, 0},
    {"and of parameters", "select * from customers where ", "id = $@", " and ", "", GROWTH_ANY, 1},
    {"and of columns", "select * from customers c join orders o on ", "c.id = o.customer_id", " and ", "",
     GROWTH_ANY, 0},
    {"and of ors", "select * from customers where ", "(id = 1 or id = @)", " and ", "", GROWTH_ANY, 0},
    {"in literals", "select * from customers where id in (", "@", ", ", ")", GROWTH_ANY, 0},
    {"in parameters", "select * from customers where id in (", "$@", ", ", ")", GROWTH_ANY, 1},
    {"in rows", "select * from customers where (id, parent) in (", "(@, ?)", ", ", ")", GROWTH_ANY, 0},
    {"in, joined",
     "select * from customers c join orders o on c.id = o.customer_id join items i using (customer_id) "
     "where c.id in (",
     "@", ", ", ")", GROWTH_ANY, 0},
    {"in, derived columns",
     "select * from (select id a, id b, id c, id d, id e, id f from customers where id in (", "@", ", ",
     ") limit 1) x where a = 1", GROWTH_ANY, 0},
    {"any of an array", "select * from customers where id = any (array[", "@", ", ", "])", GROWTH_ANY, 0},
    {"any of a literal", "select * from customers where id = any ('{", "@", ",", "}')", GROWTH_ANY, 0},
    {"one parameter often", "select * from customers where ", "id = $1", " or ", "", GROWTH_ANY, 0},
    {"joins using", "select * from customers t0 join ", "customers t@ using (id)", " join ", " where id = 1",
     400, 0},
    {"joins on", "select * from customers t0 join ", "customers t@ on t?.id = t@.id", " join ",
     " where t0.id = 1", 400, 0},
    {"joins on, bare", "select * from customers t0 join ", "customers t@ on id = id", " join ",
     " where t0.id = 1", 400, 0},
    {"left joins", "select * from customers t0 left join ", "customers t@ on t?.id = t@.id", " left join ",
     "", 400, 0},
    {"full joins", "select * from customers t0 full join ", "customers t@ using (id)", " full join ", "", 400,
     0},
    {"natural joins", "select * from customers t0 natural join ", "customers t@", " natural join ", "", 40,
     0},
    {"tables with commas", "select * from customers t0, ", "customers t@", ", ", " where t0.id = t1.id", 400,
     0},
    {"derived tables", "select * from customers t0, ", "(select id from customers where id = t@) x@", ", ",
     "", 400, 0},
    {"limited tables", "select * from customers t0, ", "(select id from customers where id = @ limit 1) x@",
     ", ", "", 400, 0},
    {"chained queries", "with c0 as (select 1 as id), ", "c@ as (select * from c?)", ", ",
     " select * from c1", 400, 0},
    {"queries of one", "with c as (select id from customers where id = 1) select * from ", "c c@", ", ", "",
     400, 0},
    {"unused queries", "with ", "c@ as (select 1)", ", ", " select 1", 400, 0},
    {"union all", "", "select id from customers where id = @", " union all ", "", 400, 0},
    {"union of values", "", "select @", " union all ", "", 400, 0},
    {"insert of literals", "insert into customers (id, name) values ", "(@, 'x')", ", ", "", GROWTH_ANY, 0},
    {"insert of parameters", "insert into customers (id, name, credit) values ", "($@, null, now())", ", ",
     "", GROWTH_ANY, 1},
    {"insert of both", "insert into customers (id, name) values ", "($@, 'x')", ", ", "", GROWTH_ANY, 1},
    {"insert, quoted names", "insert into customers (id, name, credit) values ", "($@, \"x\", /* y */ 1)",
     ", ", "", GROWTH_ANY, 1},
    {"insert into a reference table", "insert into rates (code, rate) values ", "('a@', @)", ", ", "",
     GROWTH_ANY, 0},
    {"insert returning", "insert into customers (id) values ", "(@)", ", ", " returning *", GROWTH_ANY, 0},
    {"update of columns", "update customers set ", "name = '@'", ", ", " where id = 1", GROWTH_ANY, 0},
    {"update with case", "update customers set credit = case id ", "when @ then ?", " ", " end where id = 1",
     GROWTH_ANY, 0},
    {"select list", "select ", "name as n@", ", ", " from customers", 1600, 0},
    {"select list of parameters", "select ", "$@::int", ", ", " from customers where id = 1", GROWTH_ANY, 1},
    {"select list, one shard", "select ", "name", ", ", " from customers where id = 1", GROWTH_ANY, 0},
    {"aggregates", "select ", "sum(id)", ", ", " from customers", 832, 0},
    {"averages", "select ", "avg(id)", ", ", " from customers", 800, 0},
    {"averages of literals", "select ", "avg(id + @)", ", ", " from customers", 800, 0},
    {"order by positions", "select id, name from customers order by ", "2", ", ", "", 1600, 0},
    {"order by names", "select ", "parent p@", ", ", " from customers order by p1, p1, p1", 1600, 0},
    {"order by hidden columns", "select id from customers order by ", "parent + @", ", ", "", 1600, 0},
    {"order by the select list", "select parent + 1, parent + 2 from customers order by ", "parent + 1", ", ",
     "", 1600, 0},
    {"group by", "select count(*) from customers group by id, ", "parent", ", ", "", GROWTH_ANY, 0},
    {"group by expressions", "select count(*) from customers group by id, ", "parent + @", ", ", "",
     GROWTH_ANY, 0},
    {"distinct on", "select distinct on (id, ", "parent", ", ", ") id from customers", GROWTH_ANY, 0},
    {"functions", "select * from customers where id = 1 and ", "lower(name) = 'x@'", " and ", "", GROWTH_ANY,
     0},
    {"columns, bare", "select * from customers c, orders o where c.id = o.customer_id and ", "name = 'x@'",
     " and ", "", GROWTH_ANY, 0},
    {"columns, unknown", "select * from customers c, orders o where c.id = 1 and o.customer_id = 1 and ",
     "x@ = ?", " and ", "", GROWTH_ANY, 0},
    {"subqueries", "select * from customers where id = 1 and ", "exists (select @)", " and ", "", GROWTH_ANY,
     0},
    {"subqueries with in", "select * from customers where ", "id in (select @)", " and ", "", GROWTH_ANY, 0},
    {"subqueries over tables", "select * from customers where ",
     "id in (select customer_id from orders where id = @)", " and ", "", 400, 0},
    {"commas in a call", "select coalesce(", "name", ", ", ") from customers where id = 1", GROWTH_ANY, 0},
    {"case", "select case ", "when id = @ then ?", " ", " end from customers", GROWTH_ANY, 0},
    {"a chain of operators", "select ", "1", " + ", " from customers where id = 1", 400, 0},
    {"a chain of strings", "select ", "name", " || ", " from customers", 400, 0},
    {"a copy of a query", "copy (select * from customers where id in (", "@", ", ", ")) to stdout",
     GROWTH_ANY, 0},
    {"explain", "explain select * from customers where ", "id = @", " or ", "", GROWTH_ANY, 0},
    {"explain (route)", "explain (route) select * from customers where ", "id = @", " or ", "", GROWTH_ANY,
     0},
    {"set", "set search_path to ", "'x@'", ", ", "", GROWTH_ANY, 0},
    {"truncate", "truncate ", "customers", ", ", "", 400, 0},
    {"grant", "grant select on ", "customers", ", ", " to app", 400, 0},
    {"grantees", "grant select on customers to ", "app@", ", ", "", GROWTH_ANY, 0},
    {"create table", "create table fresh (", "c@ int default @ check (c@ > 1)", ", ", ")", GROWTH_ANY, 0},
    {"create index", "create index on customers (", "(parent + @)", ", ", ")", GROWTH_ANY, 0},
    {"create function", "create function f(", "a@ int", ", ", ") returns int language sql as 'select 1'",
     GROWTH_ANY, 0},
    {"limit of many", "select id from customers where parent in (", "@", ", ",
     ") order by id limit 10 offset 5", GROWTH_ANY, 0},
    {"a long comment", "select * from customers where id = 1 /* ", "x@", " ", " */", GROWTH_ANY, 0},
};
#define N_GROWTH_SHAPES (sizeof(growth_shapes) / sizeof(growth_shapes[0]))

static inline void growth_item(FILE *f, const char *item, uint32_t i)
{
    for (const char *p = item; *p; p++)
        if (*p == '@')
            fprintf(f, "%u", i);
        else if (*p == '?')
            fprintf(f, "%u", i - 1);
        else
            fputc(*p, f);
}

/* The statement of a shape with n items; from malloc. */
static inline char *growth_statement(const struct growth_shape *s, uint32_t n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        abort();
    fputs(s->head, f);
    for (uint32_t i = 1; i <= n; i++) {
        if (i > 1)
            fputs(s->separator, f);
        growth_item(f, s->item, i);
    }
    fputs(s->tail, f);
    if (fclose(f) != 0)
        abort();
    return text;
}

#endif
