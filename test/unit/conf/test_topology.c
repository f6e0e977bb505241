/* [database], [shard], [buckets] and the headings of sections. */
#include "support.h"

static void shards_buckets_and_defaults_are_filled_in(void **state)
{
    (void)state;
    struct config *c =
        load_ok("[database Shop]\nshards = b, a\n\nhome = a\nbuckets = 8\npool_mode = session\n"
                "reserve_pool = 2\nmax_db_connections = 9\n"
                "[shard a]\nhost = h1,h2\nport = 5501,5502\nuser = u\npassword = p\nsslmode = require\n"
                "connect_timeout = 5s\n"
                "[shard b]\nhost = h3\ndbname = Other\n");
    const struct database_def *db = topology_database(&c->topology, "shop");
    assert_non_null(db);
    assert_null(topology_database(&c->topology, "Shop"));
    assert_int_equal(db->n_shards, 2);
    assert_int_equal(db->home, 1);
    assert_int_equal(db->pool_mode, POOL_SESSION);
    assert_int_equal(db->pool_size, -1);
    assert_int_equal(db->reserve_pool_size, 2);
    assert_int_equal(db->max_db_connections, 9);
    assert_int_equal(shard_set_count(&db->all_shards), 2);
    const struct shard_def *a = db->shards[1], *b = db->shards[0];
    assert_string_equal(a->name, "a");
    assert_string_equal(a->host, "h1,h2");
    assert_string_equal(a->port, "5501,5502");
    assert_string_equal(a->dbname, "shop");
    assert_string_equal(a->sslmode, "require");
    assert_int_equal(a->connect_timeout_s, 5);
    assert_null(a->admin_user);
    assert_string_equal(b->port, "5432");
    assert_string_equal(b->dbname, "Other");
    assert_null(b->user);
    assert_null(b->target_session_attrs);
    assert_ptr_equal(&c->topology.shards[a->id], a);
    for (int i = 0; i < 8; i++)
        assert_int_equal(db->bucket_shard[i], i / 4);
    config_unref(&c);
}

static void buckets_are_spread_evenly_in_order(void **state)
{
    (void)state;
    struct config *c =
        load_ok("[database d]\nshards = a b c\nbuckets = 1024\n[shard a]\nhost = a\n[shard b]\nhost = b\n"
                "[shard c]\nhost = c\n");
    const struct database_def *db = &c->topology.databases[0];
    unsigned counts[3] = {0};
    for (unsigned i = 0; i < 1024; i++) {
        assert_true(i == 0 || db->bucket_shard[i] >= db->bucket_shard[i - 1]);
        counts[db->bucket_shard[i]]++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(counts[i], 341, 342);
    config_unref(&c);
}

#define BUCKETS(lines)                                                                                       \
    "[database d]\nshards = a b\nbuckets = 16\n[shard a]\nhost = a\n[shard b]\nhost = b\n[buckets "          \
    "d]\n" lines

static void explicit_buckets_cover_all_of_them_once(void **state)
{
    (void)state;
    struct config *c = load_ok(BUCKETS("b = 0-3, 5\na = 4\na = 6 - 14 15\n"));
    static const uint8_t expected[16] = {1, 1, 1, 1, 0, 1};
    assert_memory_equal(c->topology.databases[0].bucket_shard, expected, 16);
    config_unref(&c);
    c = load_ok(BUCKETS("a = 0-15\n")); /* a shard may have none */
    config_unref(&c);
    one_error(BUCKETS("a = 0-3\nb = 5-9 11-14\n"), 8,
              "buckets 4, 10, 15 of database \"d\" are given to no shard");
    one_error(BUCKETS("a = 0-3\n"), 8, "buckets 4-15 of database \"d\" are given to no shard");
    one_error(BUCKETS(""), 8, "buckets 0-15");
    one_error(BUCKETS("a = 0-9\nb = 8-15\n"), 10,
              "buckets 8-9 of database \"d\" are given to b here and to a in line 9");
    one_error(BUCKETS("a = 0-15\na = 3\n"), 10,
              "bucket 3 of database \"d\" is given to a here and to a in line 9");
    one_error(BUCKETS("a = 0-7 7-15\n"), 9,
              "bucket 7 of database \"d\" is given to a here and to a in line 9");
}

static void bucket_numbers_must_exist(void **state)
{
    (void)state;
    one_error(BUCKETS("a = 0-16\n"), 9, "database \"d\" has the buckets 0-15");
    one_error(BUCKETS("a = 99999999999999999999\n"), 9, "database \"d\" has the buckets 0-15");
    one_error(BUCKETS("a = 5-3\n"), 9, "buckets \"5-3\" of shard a");
    one_error(BUCKETS("a = x\n"), 9, "cannot read \"x\"; allowed are bucket numbers");
    one_error(BUCKETS("a = 0-\n"), 9, "no bucket number after \"-\"");
    one_error(BUCKETS("a = 3x\n"), 9, "cannot read \"x\"");
    one_error(BUCKETS("a =\n"), 9, "no buckets in");
    one_error(BUCKETS("c = 0-15\n"), 9, "\"c\" is not among the shards of database \"d\"");
    one_error("[database d]\nshards = a\nbuckets = 1000\n[shard a]\nhost = a\n[buckets d]\na = 0-999\n", 3,
              "allowed is a power of two from 1 to 65536, such as 512 or 1024");
    one_error("[database d]\nshards = a\nbuckets = 131072\n[shard a]\nhost = a\n", 3, "from 1 to 65536");
}

static void headings_are_checked(void **state)
{
    (void)state;
    one_error(ONE_DATABASE "[Database x]\n", 7, "unknown section [Database x]; did you mean \"database\"?");
    one_error(ONE_DATABASE "[pgbouncer]\n", 7, "settings stand in [pgunison]");
    one_error(ONE_DATABASE "[databases]\n", 7, "[database NAME]");
    one_error(ONE_DATABASE "[]\n", 7, "unknown section []");
    one_error(ONE_DATABASE "[shard]\n", 7, "section [shard] needs a name");
    one_error(ONE_DATABASE "[pgunison x]\n", 7, "takes no name");
    one_error(ONE_DATABASE "[shard s0]\n", 7, "section [shard s0] repeats [shard s0] of line 3");
    one_error(ONE_DATABASE "[database SHOP]\n", 7,
              "section [database SHOP] repeats [database shop] of line 1");
    one_error(ONE_DATABASE "[pgunison]\n[pgunison]\n", 8, "repeats [pgunison] of line 7");
    one_error(ONE_DATABASE "[shard a/b]\n", 7, "shard name \"a/b\" is not fit");
    one_error(ONE_DATABASE "[shard a2345678901234567890123456789012345678901]\n", 7, "allowed are 1 to 40");
    one_error(ONE_DATABASE "[buckets shpo]\n", 7, "there is no database \"shpo\"; did you mean \"shop\"?");
    one_error(ONE_DATABASE "[tables shop x]\n", 7, "unexpected \" x\"");
    one_error(ONE_DATABASE "[tables \"shop]\n", 7, "has no closing");
    one_error(ONE_DATABASE "[ranges shop]\n", 7, "expected DATABASE.TABLE");
    one_error(ONE_DATABASE "[ranges shop.a.b.c]\n", 7, "unexpected \".c\"");
}

static void databases_and_shards_are_checked(void **state)
{
    (void)state;
    one_error("[pgunison]\n", 0, "there is no [database NAME] section");
    one_error("[database d]\n", 1, "database \"d\" has no shards");
    one_error("[database d]\nshards = sO s0\n[shard s0]\nhost = h\n", 2,
              "there is no section [shard sO]; did you mean \"s0\"?");
    one_error("[database d]\nshards = s0 s0\n[shard s0]\nhost = h\n", 2, "shard \"s0\" stands twice");
    one_error("[database d]\nshards = s0\nhome = s1\n[shard s0]\nhost = h\n", 3,
              "\"s1\" is not among the shards of database \"d\"; did you mean \"s0\"?");
    one_error("[database pgunison]\nshards = s0\n[shard s0]\nhost = h\n", 1, "that is the console");
    one_error("[database d]\nshards = s0\nshard = s1\n[shard s0]\nhost = h\n", 3,
              "unknown setting \"shard\" in [database d]; did you mean \"shards\"?");
    one_error("[database d]\nshards = s0\nreserve_pool = 1\nreserve_pool_size = 1\n[shard s0]\nhost = h\n", 3,
              "are the same setting");
    one_error("[database d]\nshards = s0\n[shard s0]\nport = 1\n", 3, "shard \"s0\" has no host");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\nport = 0\n", 5, "port cannot be \"0\"");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = a,b,c\nport = 1,2\n", 5,
              "has 3 hosts but 2 ports");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\npassword = secret\n", 5,
              "has a password but no user");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\nadmin_password = x\n", 5, "no admin_user");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\nsslmode = always\n", 5,
              "allowed is disable, allow, prefer, require, verify-ca or verify-full");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\nsslrootcert = none.crt\n", 5, "sslrootcert");
    one_error("[database d]\nshards = s0\n[shard s0]\nhost = h\nhots = i\n", 5,
              "unknown setting \"hots\" in [shard s0]; did you mean \"host\"?");
    one_note("[database d]\nshards = s0\n[shard s0]\nhost = h\n[shard s1]\nhost = i\n", 5,
             "shard \"s1\" is used by no database");
}

static void two_shards_may_not_be_one_database(void **state)
{
    (void)state;
    one_error("[database d]\nshards = s0 s1\n[shard s0]\nhost = h\n[shard s1]\nhost = h\nport = 5432\n", 5,
              "shards \"s0\" (line 3) and \"s1\" are the same database: host h, port 5432, dbname d");
}

static void shard_of_two_databases_needs_a_dbname(void **state)
{
    (void)state;
    one_error("[database d]\nshards = s0\n[database e]\nshards = s0\n[shard s0]\nhost = h\n", 5,
              "needs a dbname: databases \"d\" and \"e\" both use it");
    struct config *c =
        load_ok("[database d]\nshards = s0\n[database e]\nshards = s0\n[shard s0]\nhost = h\ndbname = x\n");
    assert_ptr_equal(c->topology.databases[0].shards[0], c->topology.databases[1].shards[0]);
    config_unref(&c);
}

static void at_most_256_shards(void **state)
{
    (void)state;
    struct buf b;
    for (unsigned n = 256; n <= 257; n++) {
        buf_init(&b);
        buf_str(&b, "[database d]\nshards =\n");
        for (unsigned i = 0; i < n; i++)
            buf_printf(&b, " s%u\n", i);
        for (unsigned i = 0; i < n; i++)
            buf_printf(&b, "[shard s%u]\nhost = h%u\n", i, i);
        buf_u8(&b, 0);
        struct problems p;
        struct config *c = load((const char *)buf_head(&b), &p);
        if (n == 256) {
            assert_non_null(c);
            assert_int_equal(shard_set_count(&c->topology.databases[0].all_shards), 256);
            assert_int_equal(c->topology.databases[0].bucket_shard[1023], 255);
        } else {
            assert_null(c);
            assert_string_equal(p.items[0].text, "database \"d\" has 257 shards; at most 256 are allowed");
        }
        config_unref(&c);
        problems_free(&p);
        buf_free(&b);
    }
}

/* By the databases of their shards' servers, whatever those are called. */
static void databases_that_meet(void **state)
{
    (void)state;
    struct config *c =
        load_ok("[database a]\nshards = x y\n[database b]\nshards = z\n[database c]\nshards = v w\n"
                "[shard x]\nhost = h1\ndbname = one\n[shard y]\nhost = h2\ndbname = two\n"
                "[shard z]\nhost = h3\ndbname = two\n[shard v]\nhost = h1\ndbname = three\n"
                "[shard w]\nhost = h2\ndbname = three\n");
    const struct database_def *db = c->topology.databases;
    assert_true(topology_databases_meet(&db[0], &db[1]) && topology_databases_meet(&db[1], &db[0]));
    assert_true(topology_databases_meet(&db[0], &db[0]));
    assert_false(topology_databases_meet(&db[0], &db[2]) || topology_databases_meet(&db[2], &db[1]));
    for (size_t i = 0; i < c->topology.n_databases; i++)
        assert_in_range(db[i].slot, 0, DATABASE_SLOTS - 1);
    config_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_buckets_and_defaults_are_filled_in),
        cmocka_unit_test(buckets_are_spread_evenly_in_order),
        cmocka_unit_test(explicit_buckets_cover_all_of_them_once),
        cmocka_unit_test(bucket_numbers_must_exist),
        cmocka_unit_test(headings_are_checked),
        cmocka_unit_test(databases_and_shards_are_checked),
        cmocka_unit_test(two_shards_may_not_be_one_database),
        cmocka_unit_test(shard_of_two_databases_needs_a_dbname),
        cmocka_unit_test(at_most_256_shards),
        cmocka_unit_test(databases_that_meet),
    };
    return RUN(tests);
}
