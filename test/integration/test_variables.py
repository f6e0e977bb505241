"""Variables of a session over servers that others use as well: what a client sees of them is what a PostgreSQL of its
own would show, whatever it set, in whatever form, and however its transaction ended; and nobody else sees any of it.

Three sessions (one that sets, one that was there before, one that comes later) do the same on a plain PostgreSQL and
over one server per shard."""
import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 3
TABLES = {"t": "hash(id)"}
SETTINGS = {"default_pool_size": 1, "reserve_pool_size": 0, "workers": 1}


def current(name):
    return "current_setting('%s', true)" % name


ISOLATION = ", ".join(current("default_transaction_" + n) for n in ("isolation", "read_only", "deferrable"))
DATE = "'02/03/2024'::text::date::text"
IDENTITY = "current_user, session_user, current_setting('role')"

# (what is set, what is asked)
CASES = [
    ("SET datestyle TO 'SQL, DMY'", DATE),
    ("SET datestyle = 'dmy'", current("DateStyle")),
    ("SET datestyle = 'dmy'; SET datestyle = 'iso'", DATE),
    ("SET datestyle = german", DATE),
    ("SET DateStyle TO postgres, mdy", DATE),
    ('SET "DateStyle" TO \'ISO, YMD\'', current("datestyle")),
    ("SET /* c */ datestyle /* = */ = -- no\n 'German'", DATE),
    ("/* RESET */ SET datestyle = 'SQL'", current("datestyle")),
    ("SET datestyle FROM CURRENT", current("datestyle")),
    ("SET datestyle TO DEFAULT", current("datestyle")),
    ("SET datestyle TO nonsense", current("datestyle")),
    ("SET intervalstyle = iso_8601", "'1 day 2 hours'::interval::text"),
    ("SET TIME ZONE 'Europe/Paris'", current("timezone")),
    ("SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE", current("timezone")),
    ("SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE", "'2024-01-01 00:00Z'::text::timestamptz::text"),
    ("SET TIME ZONE -7", current("timezone")),
    ("SET TIME ZONE 5.5", "'2024-01-01 00:00Z'::text::timestamptz::text"),
    ("SET TIME ZONE LOCAL", current("timezone")),
    ("SET TIME ZONE DEFAULT", current("timezone")),
    ("SET timezone TO 'utc'", current("timezone")),
    ("SET LOCAL TIME ZONE 'Asia/Tokyo'", current("timezone")),
    ("SET SESSION TIME ZONE 'America/New_York'", current("timezone")),
    ("RESET TIME ZONE", current("timezone")),
    ("SELECT set_config('my.%s', 'long', false)" % ("x" * 70), current("my." + "x" * 70)),
    ("SELECT set_config('MY.%s', 'long', true)" % ("X" * 70), current("my." + "x" * 70)),
    ("SELECT set_config('my.a', '1', false), set_config('my.a', '2', true), set_config('my.b', '3', false)", current("my.a") + " || " + current("my.b")),
    ("SET work_mem = 2048", current("work_mem")),
    ("SET work_mem TO '3MB'", current("work_mem")),
    ("SET LOCAL work_mem = '5MB'", current("work_mem")),
    ("SET SESSION work_mem = '6MB'", current("work_mem")),
    ("SET WORK_MEM TO '7MB'; RESET work_mem", current("work_mem")),
    ("SET statement_timeout = 90000", current("statement_timeout")),
    ("SET statement_timeout = '1.5min'", current("statement_timeout")),
    ("SET random_page_cost = 1.25", current("random_page_cost")),
    ("SET seq_page_cost = 1.23456789", current("seq_page_cost")),
    ("SET enable_seqscan = off", current("enable_seqscan")),
    ("SET enable_seqscan TO f; SET LOCAL enable_seqscan TO yes", current("enable_seqscan")),
    ("SET extra_float_digits = 0", "(1.0/3)::float8::text"),
    ("SET bytea_output = escape", "'abc'::bytea::text"),
    ("SET search_path = app_one", "current_schema(), " + current("search_path")),
    ("SET search_path TO app_two, public", "current_schema(), " + current("search_path")),
    ("SET search_path TO 'app_one', \"$user\", 'public'", current("search_path")),
    ("SET search_path TO \"odd, name\", 'it''s'", current("search_path")),
    ("SET search_path TO ''", "current_schema(), " + current("search_path")),
    ("SET search_path = '$a$ \" $a$; drop table public.victim; --'", current("search_path")),
    ("SET LOCAL search_path = app_two", "current_schema(), (SELECT who FROM place)"),
    ("SET search_path = app_one; SET LOCAL search_path = app_two", "(SELECT who FROM place)"),
    ("SET SCHEMA 'app_two'", "current_schema(), (SELECT who FROM place)"),
    ("SET LOCAL SCHEMA 'app_one'", "current_schema()"),
    ("SET NAMES 'LATIN1'", current("client_encoding")),
    ("SET NAMES 'utf-8'", current("client_encoding")),
    ("SET NAMES", current("client_encoding")),
    ("SET client_encoding TO 'unicode'", current("client_encoding")),
    ("SET client_encoding = 'iso-8859-1'; RESET client_encoding", current("client_encoding")),
    ("SET XML OPTION DOCUMENT", current("xmloption")),
    ("SET LOCAL XML OPTION DOCUMENT", current("xmloption")),
    ("SET ROLE vars_boss", IDENTITY),
    ("SET ROLE 'vars_boss'", IDENTITY),
    ("SET ROLE TO vars_boss", IDENTITY),
    ("SET role = vars_boss", IDENTITY),
    ("SET role = 'vars_boss'", IDENTITY),
    ("SET role TO 'vars_boss'", IDENTITY),
    ("SET LOCAL ROLE vars_boss", IDENTITY),
    ("SET SESSION ROLE vars_boss; SET ROLE NONE", IDENTITY),
    ("SET ROLE vars_boss; RESET ROLE", IDENTITY),
    ("SET ROLE nobody_at_all", IDENTITY),
    ("SET SESSION AUTHORIZATION vars_boss", IDENTITY),
    ("SET SESSION AUTHORIZATION 'vars_boss'; SET ROLE vars_joe", IDENTITY),
    ("SET ROLE vars_joe; SET SESSION AUTHORIZATION vars_boss", IDENTITY),
    ("SET SESSION SESSION AUTHORIZATION vars_joe", IDENTITY),
    ("SET LOCAL SESSION AUTHORIZATION vars_boss", IDENTITY),
    ("SET SESSION AUTHORIZATION vars_boss; RESET SESSION AUTHORIZATION", IDENTITY),
    ("SET SESSION AUTHORIZATION vars_boss; SET SESSION AUTHORIZATION DEFAULT", IDENTITY),
    ("SET SESSION AUTHORIZATION vars_boss; RESET ALL", IDENTITY),
    ("SET session_authorization = vars_boss; SET work_mem = '1MB'", IDENTITY + ", " + current("work_mem")),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", ISOLATION),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ISOLATION),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE, DEFERRABLE", ISOLATION),
    ("SET default_transaction_deferrable = on", ISOLATION),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; RESET ALL", ISOLATION),
    ("SET TRANSACTION READ ONLY", current("transaction_read_only")),
    ("SET transaction_read_only = on", current("transaction_read_only")),
    ("SET LOCAL transaction_deferrable TO true", current("transaction_deferrable")),
    ("SET transaction_isolation = 'read uncommitted'", current("transaction_isolation")),
    ("SET CONSTRAINTS ALL DEFERRED", current("work_mem")),
    ("SET my.x = 'one'", current("my.x")),
    ("SET my.x TO 2", current("my.x")),
    ("SET My.X TO 'mixed'", current("my.x")),
    ('SET "my.x" TO \'quoted\'', current("my.x")),
    ("SET LOCAL my.x = 'local'", current("my.x")),
    ("SET my.x = 'gone'; RESET my.x", current("my.x")),
    ("SET my.x = 'gone'; SET my.x TO DEFAULT", current("my.x")),
    ("SET my.x = 'gone'; RESET ALL", current("my.x")),
    ("SET my.x = 'it''s \\ \"odd\"'", current("my.x")),
    ("SET my.x = E'a\\nb'", current("my.x")),
    ("SET my.x = 'a', 'b'", current("my.x")),
    ("RESET my.never", current("my.never")),
    ("SET plpgsql.nonsense = 1", current("plpgsql.nonsense")),
    ("SET nonsense = 1", current("work_mem")),
    ("RESET nonsense", current("work_mem")),
    ("SET server_version = '1'", current("work_mem")),
    ("SET application_name = 'one; two'", current("application_name")),
    ("SET application_name TO 'q''uote\\'", current("application_name")),
    ("RESET application_name", current("work_mem")),
    ("SET standard_conforming_strings = on", current("standard_conforming_strings")),
    ("SET session_replication_role = replica", current("session_replication_role")),
    ("SET default_text_search_config = 'pg_catalog.german'", current("default_text_search_config")),
    ("SET temp_tablespaces = ''", current("temp_tablespaces")),
    ("SET lc_monetary = 'C'", current("lc_monetary")),
    ("SET log_min_messages = debug1", current("log_min_messages")),
    ("SET vacuum_cost_delay = 13", current("vacuum_cost_delay")),
    ("SELECT set_config('work_mem', '8MB', false)", current("work_mem")),
    ("SELECT set_config('work_mem', '9MB', true)", current("work_mem")),
    ("SELECT pg_catalog.set_config('search_path', '', false)", "current_schema(), " + current("search_path")),
    ("SELECT pg_catalog.set_config('search_path', 'app_one, public', false) AS path", "current_schema()"),
    ("SELECT set_config('search_path', 'app_two', 'true')", "current_schema(), (SELECT who FROM place)"),
    ("SELECT set_config('my.x', 'by function', false)", current("my.x")),
    ("SELECT set_config('my.x', 'by function', true), set_config('my.y', 'other', false)", current("my.x") + "," + current("my.y")),
    ("SELECT set_config('DateStyle', 'dmy', false)", DATE),
    ("SELECT set_config('role', 'vars_boss', false)", IDENTITY),
    ("SELECT set_config('role', 'vars_boss', true)", IDENTITY),
    ("SELECT set_config('work_mem', NULL, false)", current("work_mem")),
    ("SELECT set_config(NULL, 'x', false)", current("work_mem")),
    ("SELECT set_config('nonsense', 'x', false)", current("work_mem")),
    ("SELECT set_config('work_mem', 'x', 'maybe')", current("work_mem")),
    ("SELECT set_config('work_mem', '1MB'::text, false::bool)", current("work_mem")),
    ("SHOW work_mem; SHOW TIME ZONE; SHOW session authorization; SHOW TRANSACTION ISOLATION LEVEL", current("work_mem")),
]
AUTOCOMMIT_ONLY = [
    ("SET work_mem = '4MB'; DISCARD ALL", current("work_mem")),
    ("SET my.x = 1; DISCARD ALL", current("my.x")),
    ("SET ROLE vars_boss; DISCARD ALL", IDENTITY),
    ("SET vacuum_cost_delay = 13; DISCARD ALL", current("vacuum_cost_delay")),
]

# Of the transaction's end each: what was set before does not hide what comes after.
ENDS = [
    ["BEGIN", "%s", "?", "ROLLBACK", "?"],
    ["BEGIN", "SAVEPOINT a", "%s", "?", "ROLLBACK TO a", "?", "COMMIT", "?"],
    ["BEGIN", "SAVEPOINT a", "%s", "?", "RELEASE a", "?", "COMMIT", "?"],
    ["BEGIN", "%s", "?", "COMMIT", "?"],
    ["%s", "?"],
]


def normal(messages):
    """Answers as they are compared: no types of columns, of errors the code; notices and statuses apart."""
    shown = []
    for kind, body in messages:
        if kind == "E":
            shown.append((kind, h.fields(body)["C"]))
        elif kind == "D":
            shown.append(("D",) + h.data_row(body))
        elif kind == "C":
            shown.append(("C", body[:-1].decode()))
        elif kind == "Z":
            shown.append(("Z", body.decode()))
    return shown


def ask(w, sql, extended=False):
    if extended:
        w.send(h.parse(sql), h.bind(), h.describe("P"), h.execute(), h.SYNC)
    else:
        w.send(h.query(sql))
    return normal(w.until_ready())


def questions(asked, keys):
    keyed = asked.replace("(SELECT who FROM place)", "1")  # which is on the home shard
    return ["SELECT " + asked] + ["SELECT %s FROM t WHERE id = %d" % (keyed, key) for key in keys]


def statements(text):
    return text.split("; ") if "'$a$" not in text else [text]


def play(server, case, ends, keys, extended):
    """What the three sessions see."""
    sets, asked = case
    seen = []
    user = "postgres"
    with server.wire(user=user) as before:
        for q in questions(asked, keys):
            seen.append(("before", ask(before, q)))
        with server.wire(user=user) as w:
            for end in ends:
                for step in end:
                    texts = questions(asked, keys) if step == "?" else statements(sets) if step == "%s" else [step]
                    for text in texts:
                        seen.append((text, ask(w, text, extended)))
                for q in questions(asked, keys):
                    seen.append(("other", ask(before, q)))
            seen.append(("told", {k: v for k, v in w.parameters.items() if k != "is_superuser"}))
        # the server of the one that has gone is free
        with server.wire(user=user) as after:
            for q in questions(asked, keys):
                seen.append(("later", ask(after, q)))
            seen.append(("told", after.parameters))
        seen.append(("told", before.parameters))
    return seen


SETUP = [
    "CREATE TABLE t (id int PRIMARY KEY)",
    "CREATE TABLE victim (id int)",
    "CREATE SCHEMA app_one",
    "CREATE SCHEMA app_two",
    "CREATE TABLE app_one.place (who text)",
    "CREATE TABLE app_two.place (who text)",
    "CREATE TABLE public.place (who text)",
    "INSERT INTO app_one.place VALUES ('one')",
    "INSERT INTO app_two.place VALUES ('two')",
    "INSERT INTO public.place VALUES ('public')",
    "GRANT ALL ON ALL TABLES IN SCHEMA public, app_one, app_two TO public",
    "GRANT ALL ON SCHEMA public, app_one, app_two TO public",
]


@pytest.fixture(scope="module")
def keys(shards, dbname):
    """One of each shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 39) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    return [by_shard[i] for i in range(len(shards))]


@pytest.fixture(scope="module", autouse=True)
def schema(shards, dbname, oracle, keys):
    roles = """DO $$ BEGIN CREATE ROLE vars_boss; CREATE ROLE vars_joe; GRANT vars_joe TO vars_boss;
               EXCEPTION WHEN duplicate_object THEN NULL; END $$"""
    for session in [s.session(dbname=dbname) for s in shards] + [oracle.session(user="postgres")]:
        with session as s:
            s.run(roles)
            for sql in SETUP:
                s.run(sql)
    with oracle.session(user="postgres") as s:
        s.run("INSERT INTO t SELECT unnest(%s)", keys)
    for i, server in enumerate(shards):
        with server.session(dbname=dbname) as s:
            s.run("INSERT INTO t VALUES (%s)", keys[i])


@pytest.fixture(scope="module")
def one(workspace, shards, dbname):
    """A proxy of one shard."""
    cluster = object.__new__(h.Cluster)
    cluster.workspace, cluster.servers = workspace, shards.servers[:1]
    proxy = h.Proxy(workspace, cluster, dbname, settings=SETTINGS)
    yield proxy
    proxy.stop()


def check(expected, got):
    different = ["%d: %s\n    PostgreSQL: %s\n    here:       %s" % (i, e[0], e[1], g[1]) for i, (e, g) in enumerate(zip(expected, got)) if e != g]
    if different or len(expected) != len(got):
        pytest.fail("\n".join(different[:12]), pytrace=False)


@pytest.fixture(scope="module")
def expected(oracle, keys):
    """What plain PostgreSQL sessions see; the same for every proxy."""
    known = {}

    def of(case, ends, keyed, extended):
        name = (case, keyed, extended)
        if name not in known:
            known[name] = play(oracle, case, ends, keys if keyed else [], extended)
        return known[name]

    return of


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("case", CASES + AUTOCOMMIT_ONLY, ids=[c[0][:60] for c in CASES + AUTOCOMMIT_ONLY])
def test_one_shard(one, expected, case, extended):
    ends = ENDS[-1:] if case in AUTOCOMMIT_ONLY else ENDS
    one.mark()
    check(expected(case, ends, False, extended), play(one, case, ends, [], extended))
    one.check()


# A transaction over several shards is refused at this level.
SPREAD = [c for c in CASES + AUTOCOMMIT_ONLY if "REPEATABLE READ" not in c[0]]


@pytest.mark.parametrize("case", SPREAD, ids=[c[0][:60] for c in SPREAD])
def test_several_shards(proxy, expected, keys, case):
    ends = ENDS[-1:] if case in AUTOCOMMIT_ONLY else [ENDS[1], ENDS[3], ENDS[4]]
    check(expected(case, ends, True, False), play(proxy, case, ends, keys, False))


# --- what ends before it begins ------------------------------------------------------------------------------


def test_a_timeout_that_nothing_meets_can_be_set(one):
    """The value is read back, and that is timed already."""
    with one.wire(user="postgres") as w, one.wire(user="postgres") as other:
        for _ in range(20):
            assert ask(w, "SET statement_timeout = 1") == [("C", "SET"), ("Z", "I")]
            eventually(lambda: ("D", b"1ms") in ask(w, "SHOW statement_timeout"))
            eventually(lambda: ask(w, "SET statement_timeout = 0")[0] == ("C", "SET"))
            assert ("D", b"0") in ask(other, "SHOW statement_timeout")


# --- startup packets -----------------------------------------------------------------------------------------

STARTUPS = [
    ({"search_path": '$a$ " $a$; drop table public.victim; --'}, current("search_path")),
    ({"search_path": "x'; drop table public.victim; --"}, current("search_path")),
    ({"search_path": "app_two, public"}, "current_schema(), " + current("search_path")),
    ({"search_path": '"odd, name"'}, current("search_path")),
    ({"search_path": ""}, current("search_path")),
    ({"options": "-c search_path=app_one"}, "current_schema()"),
    ({"options": "-csearch_path=$a$\\ \"\\ $a$;\\ drop\\ table\\ public.victim;\\ --"}, current("search_path")),
    ({"options": "-c role=vars_boss"}, IDENTITY),
    ({"role": "vars_boss"}, IDENTITY),
    ({"session_authorization": "vars_boss"}, "session_user"),
    ({"DateStyle": "dmy"}, DATE),
    ({"datestyle": "German"}, DATE),
    ({"TimeZone": "Asia/Tokyo"}, current("timezone")),
    ({"timezone": "<+05:30>-05:30"}, "'2024-01-01 00:00Z'::text::timestamptz::text"),
    ({"client_encoding": "iso-8859-1"}, current("client_encoding")),
    ({"client_encoding": "nonsense"}, "1"),
    ({"application_name": "it's; \\ \""}, current("application_name")),
    ({"work_mem": "3MB", "my.x": "begun"}, current("work_mem") + "," + current("my.x")),
    ({"extra_float_digits": "3", "intervalstyle": "iso_8601"}, "'1 day'::interval::text"),
    ({"default_transaction_isolation": "serializable"}, current("transaction_isolation")),
    ({"nonsense": "1"}, "1"),
    ({"work_mem": "nonsense"}, "1"),
    ({"statement_timeout": "1; drop table public.victim"}, "1"),
]


def enter(server, parameters, asked):
    """What such a session is told and sees, after RESET of all too; and one that comes behind it."""
    seen = []
    w = h.Wire(server.port, timeout=30)
    with w:
        w.startup(user="postgres", database=getattr(server, "dbname", h.DATABASE) if server.__class__.__name__ == "Oracle" else h.DATABASE, **parameters)
        greeting = w.until("ZE")
        if greeting[-1][0] == "E":
            seen.append(("refused", True))
        else:
            seen.append(("told", dict(w.parameters)))
            for sql in ("SELECT " + asked, "SET work_mem = '9MB'", "SELECT " + asked, "RESET ALL", "SELECT " + asked):
                seen.append((sql, ask(w, sql)))
    with server.wire(user="postgres") as later:
        seen.append(("told", dict(later.parameters)))
        seen.append(("later", ask(later, "SELECT " + asked)))
        seen.append(("later", ask(later, "SELECT count(*) FROM public.victim")))
        seen.append(("later", ask(later, "SELECT " + IDENTITY)))
    return seen


@pytest.mark.parametrize("parameters,asked", STARTUPS, ids=[str(s[0])[:60] for s in STARTUPS])
def test_what_a_startup_packet_says(one, proxy, oracle, parameters, asked):
    right = enter(oracle, parameters, asked)
    for server in (one, one, proxy):  # the second one meets a server that is set already
        check(right, enter(server, parameters, asked))


@pytest.mark.parametrize("encoding", ["SJIS", "GBK", "BIG5", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "MULE_INTERNAL", "sjis", "ShiftJIS"])
def test_no_encoding_opens_another_way(one, encoding):
    """In these a backslash, or half of a quote's escape, may be part of a character."""
    hostile = b"\x81\\'; drop table public.victim; --"
    for name in ("search_path", "application_name", "my.x", "timezone"):
        w = h.Wire(one.port, timeout=30)
        with w:
            body = b"\0\3\0\0" + b"".join(
                x + b"\0"
                for x in (b"user", b"postgres", b"database", h.DATABASE.encode(), b"client_encoding", encoding.encode(), name.encode(), hostile)
            )
            w.raw((len(body) + 5).to_bytes(4, "big") + body + b"\0")
            if w.until("ZE")[-1][0] == "Z":
                w.ask(h.query("SELECT 1"))
        with one.session(user="postgres") as later:
            assert later.one("SELECT count(*) FROM public.victim") == 0
            assert later.one("SHOW search_path") == '"$user", public'
    one.check()


# --- pgunison.shard ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        ["SET pgunison.shard = 's1'", "RESET ALL"],
        ["SET pgunison.shard = 's1'", "RESET pgunison.shard"],
        ["SET pgunison.shard = 's1'", "SET pgunison.shard TO DEFAULT"],
        ["SET pgunison.shard = 's1'", "DISCARD ALL"],
        ["BEGIN", "SET pgunison.shard = 's1'", "ROLLBACK"],
        ["BEGIN", "SET LOCAL pgunison.shard = 's1'", "COMMIT"],
        ["BEGIN", "SAVEPOINT a", "SET pgunison.shard = 's1'", "ROLLBACK TO a", "COMMIT"],
        ["BEGIN", "SAVEPOINT a", "SET LOCAL pgunison.shard = 's1'", "ROLLBACK TO a", "COMMIT"],
        ["BEGIN", "SAVEPOINT a", "SET LOCAL pgunison.shard = 's1'", "RELEASE a", "COMMIT"],
    ],
    ids="; ".join,
)
def test_a_shard_by_hand_is_undone_as_any_setting(proxy, steps):
    with proxy.wire(user="postgres") as w:
        for sql in steps:
            assert not [a for a in ask(w, sql) if a[0] == "E"]
        assert ("D", b"") in ask(w, "SHOW pgunison.shard")
        assert ("D", b"3") in ask(w, "SELECT count(*) FROM t")


def test_a_shard_by_hand_is_kept_by_commit(proxy):
    with proxy.wire(user="postgres") as w:
        for sql in ("BEGIN", "SET pgunison.shard = 's1'", "SET LOCAL pgunison.shard = 's2'", "COMMIT"):
            ask(w, sql)
        assert ("D", b"s1") in ask(w, "SHOW pgunison.shard")


# --- set_config() with parameters ----------------------------------------------------------------------------

CONFIGS = [
    ("SELECT set_config($1, $2, $3)", ("work_mem", "3MB", "false"), current("work_mem")),
    ("SELECT set_config($1, $2, $3)", ("work_mem", "3MB", "t"), current("work_mem")),
    ("SELECT set_config('search_path', $1, false)", ("app_one, public",), "current_schema()"),
    ("SELECT set_config('role', $1, true), set_config('my.claims', $2, true)", ("vars_boss", '{"a": "it\'s"}'), IDENTITY + ", " + current("my.claims")),
    ("SELECT set_config($1, $2, false) AS x", ("my.x", "'; drop table public.victim; --\\"), current("my.x")),
    ("SELECT set_config($1, $2, false)", ("work_mem", None), current("work_mem")),
    ("SELECT set_config($1, $2, false)", (None, "x"), current("work_mem")),
    ("SELECT set_config($1, $2, false)", ("nonsense", "x"), current("work_mem")),
]


def configure(server, sql, values, asked):
    seen = []
    with server.wire(user="postgres") as other, server.wire(user="postgres") as w:
        for end in (["BEGIN", "ROLLBACK"], ["BEGIN", "COMMIT"], []):
            for step in end[:1]:
                seen.append((step, ask(w, step)))
            w.send(h.parse(sql, "s"), h.describe("S", "s"), h.bind(*values, name="s"), h.describe("P"), h.execute(), h.close("S", "s"), h.SYNC)
            got = w.until_ready()
            seen.append((sql, normal(got)))
            seen.append(("described", [m for m in got if m[0] == "t"] + [h.row_description(b) for k, b in got if k == "T"]))
            for step in ["SELECT " + asked] + end[1:] + ["SELECT " + asked]:
                seen.append((step, ask(w, step)))
            seen.append(("other", ask(other, "SELECT " + asked)))
    return seen


@pytest.mark.parametrize("sql,values,asked", CONFIGS, ids=range(len(CONFIGS)))
def test_set_config_with_parameters(one, proxy, oracle, sql, values, asked):
    right = configure(oracle, sql, values, asked)
    check(right, configure(one, sql, values, asked))
    check(right, configure(proxy, sql, values, asked))
