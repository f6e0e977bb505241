"""Who may do what to a decision, with real servers: roles that own nothing and forge rows; somebody with the right to end by
hand what is prepared; tables of earlier versions; a schema that somebody else made first.
"""
import base64
import hashlib
import itertools

import psycopg2
import pytest

import pgharness as h
from mitm import HOLD, SENT, Rule
from pgharness import eventually
from test_faults import Commit, cleared, gids

TABLES = {"marks": "hash(id)"}
SHARDS = 3
SETTINGS = {"resolve_after": "1s", "resolve_interval": "200ms", "commit_resolve_timeout": "3s", "server_login_retry": "100ms"}
PREPARE, DECIDE, APPLY = r"PREPARE TRANSACTION '", r"INSERT INTO pgunison\.decision .*; COMMIT$", r"^COMMIT PREPARED '"
OLDER = "00112233445566778899aabbccddeeff-%x"  # how earlier versions named transactions
OLDER_TABLE = """CREATE SCHEMA pgunison; CREATE TABLE pgunison.decision (txid text PRIMARY KEY, outcome "char" NOT NULL, shards text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()); GRANT USAGE ON SCHEMA pgunison TO PUBLIC; GRANT INSERT ON pgunison.decision TO PUBLIC"""
fresh = itertools.count(1)


def role(db, name):
    if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", name):
        db.run("CREATE ROLE %s LOGIN" % name)


def txid_of(secret):
    return "00c0ffee-%x-%s" % (next(fresh), base64.urlsafe_b64encode(hashlib.sha256(secret).digest()).rstrip(b"=").decode())


@pytest.fixture(scope="module")
def proxy(workspace, shards, middle, dbname):
    """Behind the men in the middle; the other one is not."""
    for server in shards:
        with server.session(dbname="postgres") as db:
            role(db, "nobody_much")
    one = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=dict(SETTINGS, resolve_after="1h"))
    with one.session() as s:
        s.run("CREATE TABLE marks (id int PRIMARY KEY, v int)")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def other(proxy, workspace, shards, dbname):
    two = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=SETTINGS)
    yield two
    two.stop()


@pytest.fixture(scope="module")
def ids(proxy, shards, dbname):
    """A row on each shard."""
    with shards[0].session(dbname=dbname) as db:
        buckets = db.rows("SELECT g, hashint4extended(g, 0) & 1023 FROM generate_series(0, 99) g")
    by_shard = {}
    for key, bucket in buckets:
        by_shard.setdefault(shards.shard_of_bucket(bucket), key)
    with proxy.session() as s:
        for i in by_shard.values():
            s.run("INSERT INTO marks VALUES (%s, 0)", i)
    return [by_shard[i] for i in range(len(shards))]


@pytest.fixture
def begin(proxy, shards, dbname, ids):
    made = []

    def start(**options):
        made.append(Commit(proxy, shards, dbname, options.pop("ids", ids), **options))
        return made[-1]

    yield start
    for c in made:
        c.wire.close()


@pytest.fixture
def fault(middle):
    rules = []

    def make(*args, **options):
        rules.append(Rule(*args, **options))
        for man in middle:
            man.rules.append(rules[-1])
        return rules[-1]

    yield make
    for man in middle:
        man.rules.clear()
        man.up()
    for rule in rules:
        rule.release()


# --- rows ------------------------------------------------------------------------------------------------------

INSERT = "INSERT INTO pgunison.decision (txid, outcome, proof, shards) VALUES (%s, %s, %s, 'main/s0/s1')"
MADE_UP = txid_of(b"somebody's secret")  # nobody here knows 16 bytes that belong to it


@pytest.mark.parametrize("role", ["app", "nobody_much"])
@pytest.mark.parametrize(
    "row, sqlstate",
    [
        ((MADE_UP, "c", None), "42501"),
        ((MADE_UP, "c", b"0123456789abcdef"), "23514"),
        ((MADE_UP, "c", b""), "23514"),
        ((MADE_UP, "c", b"somebody's secret"), "23514"),  # right, and not of the right length
        ((MADE_UP, "a", None), "42501"),
        ((MADE_UP, "a", b"0123456789abcdef"), "42501"),
        ((MADE_UP, "x", b"0123456789abcdef"), "42501"),
        ((OLDER % 1, "c", None), "42501"),
        ((OLDER % 1, "c", b"0123456789abcdef"), "23514"),
        (("anything", "c", None), "42501"),
        (("anything", "c", b"0123456789abcdef"), "23514"),
    ],
)
def test_rows_that_prove_nothing_are_refused(proxy, shards, dbname, role, row, sqlstate):
    with shards[0].session(dbname=dbname, user=role) as db:
        assert db.fails(INSERT, *row).pgcode == sqlstate
        assert db.fails("DO $$ BEGIN INSERT INTO pgunison.decision (txid, outcome, shards) VALUES ('x', 'c', 'y'); END $$").pgcode == "42501"


def test_a_role_can_decide_what_it_began_itself(proxy, shards, dbname):
    """That is what its commits do. It cannot take it back, or see it."""
    secret = b"0123456789abcdef"
    txid = txid_of(secret)
    with shards[0].session(dbname=dbname, user="nobody_much") as db, shards[0].session(dbname=dbname) as super_user:
        db.run(INSERT, txid, "c", secret)
        assert super_user.one("SELECT outcome::text FROM pgunison.decision WHERE txid = %s", txid) in ("c", None)
        for attempt in (
            "SELECT * FROM pgunison.decision",
            "UPDATE pgunison.decision SET outcome = 'a'",
            "DELETE FROM pgunison.decision",
            "INSERT INTO pgunison.decision (txid, outcome, proof, shards) VALUES ('x', 'c', 'y', 'z') RETURNING txid",
            "INSERT INTO pgunison.decision (txid, outcome, proof, shards) VALUES ('x', 'c', 'y', 'z') ON CONFLICT (txid) DO UPDATE SET outcome = 'a'",
            "DO $$ BEGIN LOCK TABLE pgunison.decision IN ACCESS EXCLUSIVE MODE; END $$",
            "ALTER TABLE pgunison.decision DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE pgunison.decision DROP CONSTRAINT decision_proof",
            "DROP POLICY decide ON pgunison.decision",
            "CREATE TRIGGER t BEFORE INSERT ON pgunison.decision EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "CREATE TABLE pgunison.other ()",
        ):
            assert db.fails(attempt).pgcode == "42501", attempt


# --- the attack ------------------------------------------------------------------------------------------------


UNDEFENDED = "ALTER TABLE pgunison.decision DISABLE ROW LEVEL SECURITY, DROP CONSTRAINT IF EXISTS decision_proof"


def forge(shards, dbname, defended=True):
    """Everything that somebody who can read pg_prepared_xacts may try. Returns what came through. Not defended: the table has
    neither CHECK nor policy (until a proxy looks at it again: so all in one transaction)."""
    through = []
    for gid in {gid for (gid,) in gids(shards, dbname)}:
        _, cluster, decider, txid, participant = gid.split("/")
        (server,) = [s for s in shards if s.name == decider]
        with server.session(dbname=dbname) as db:
            db.run("BEGIN")
            if not defended:
                db.run(UNDEFENDED)
            db.run("SET LOCAL ROLE nobody_much")
            for outcome, proof in (("c", None), ("c", b"0123456789abcdef"), ("a", None)):
                db.run("SAVEPOINT s")
                try:
                    db.run("INSERT INTO pgunison.decision (txid, outcome, proof, shards) VALUES (%s, %s, %s, %s)", txid, outcome, proof, "/".join((cluster, decider, participant)))
                    through.append((txid, outcome, proof))
                except psycopg2.Error:
                    db.run("ROLLBACK TO s")
            db.run("COMMIT")
    return through


def defend_again(other, shards, dbname):
    other.reload()  # which looks at every shard anew
    defended = "SELECT relrowsecurity FROM pg_class WHERE oid = 'pgunison.decision'::regclass"
    eventually(lambda: all(r == [(True,)] for r in shards.each(dbname, defended)))


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("defended", [True, False])
def test_a_long_prepare_and_forged_rows(proxy, other, begin, fault, shards, dbname, attempt, defended):
    """One participant's PREPARE takes longer than another proxy's resolve_after. Rows that are forged meanwhile decide
    nothing, even where the table does not keep them out."""
    rule = fault(PREPARE, SENT, HOLD)
    c = begin().send()
    rule.wait()
    eventually(lambda: len(gids(shards, dbname)) == SHARDS - 2)
    assert bool(forge(shards, dbname, defended)) == (not defended)
    with other.console() as console:
        eventually(lambda: console.rows("RESOLVE") is not None and gids(shards, dbname) == [], 6)
    assert c.on() == []
    rule.release()
    c.answer().rolled_back("40001")
    defend_again(other, shards, dbname)


def test_forged_rows_do_not_help_a_decision_either(proxy, other, begin, fault, shards, dbname):
    """Forged between the last PREPARE and the decision, where nothing keeps rows out: the decider's own row cannot be
    written any more, and all is rolled back."""
    rule = fault(DECIDE, SENT, HOLD)
    c = begin().send()
    rule.wait()
    assert forge(shards, dbname, defended=False)
    rule.release()
    c.answer().rolled_back("40001")
    defend_again(other, shards, dbname)


def test_the_secret_is_not_shown_while_it_is_used(proxy, begin, fault, shards, dbname):
    """Other sessions of the same role can read the text of a statement that runs: here one that waits in its commit."""
    shards.each(dbname, "CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$")
    shards.each(dbname, "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON marks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()")
    try:
        rule = fault(DECIDE, SENT, HOLD)
        c = begin().send()
        man = rule.wait()
        with man.shard.session(dbname=dbname) as db:
            db.run("SELECT pg_advisory_lock(77)")
            rule.release()
            seen = "SELECT query FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'advisory'"
            eventually(lambda: db.rows(seen))
            assert not any(part in query for (query,) in db.rows(seen) for part in ("decode('", "proof) VALUES ('"))
            db.run("SELECT pg_advisory_unlock(77)")
        c.answer().committed()
    finally:
        shards.each(dbname, "DROP TRIGGER wait ON marks")


# --- by hand ---------------------------------------------------------------------------------------------------


def torn(proxy, txid):
    with proxy.console() as console:
        return [(row["shard"], row["decider"]) for row in console.dicts("SHOW UNRESOLVED") if row["txid"] == txid and row["note"].startswith("TORN")]


def torn_count(proxy):
    with proxy.console() as console:
        (row,) = console.dicts("SHOW TWO_PHASE")
        return int(row["torn"])


def by_hand(shards, dbname, what, shard):
    """Ends what is prepared there. Returns its name's parts."""
    with shard.session(dbname=dbname) as db:
        gid = db.one("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        db.run("%s PREPARED '%s'" % (what, gid))
    _, _, decider, txid, participant = gid.split("/")
    return txid, participant, decider


def test_rolled_back_by_hand_after_the_decision(proxy, other, begin, fault, shards, dbname):
    """The client is told, the log and the console say so, on every proxy, until somebody who has mended it deletes the row."""
    before = torn_count(proxy)
    rule = fault(APPLY, SENT, HOLD)
    c = begin().send()
    man = rule.wait()
    txid, participant, decider = by_hand(shards, dbname, "ROLLBACK", man.shard)
    rule.release()
    c.answer().committed(warned=True)
    (warning,) = c.warnings
    assert "torn" in warning["M"] and participant in warning["D"] and txid in warning["D"]
    eventually(lambda: c.on() == [i for i in range(SHARDS) if shards[i].name != participant])
    eventually(lambda: "transaction %s is torn" % txid in proxy.since_mark())
    assert torn_count(proxy) == before + 1
    for one in (proxy, other):
        eventually(lambda one=one: torn(one, txid) == [(participant, decider)])
    assert torn_count(proxy) == before + 1  # its resolver saw the same
    (server,) = [s for s in shards if s.name == decider]
    with server.session(dbname=dbname) as db:
        assert participant + ":" in db.one("SELECT shards FROM pgunison.decision WHERE txid = %s", txid)
        db.run("DELETE FROM pgunison.decision WHERE txid = %s", txid)
    for one in (proxy, other):
        eventually(lambda one=one: torn(one, txid) == [])
    c.usable()


def test_committed_by_hand_before_a_rollback(proxy, begin, fault, shards, dbname):
    rule = fault(DECIDE, SENT, HOLD)
    c = begin().send()
    man = rule.wait()
    where = next(s for s in shards if s.name != man.name)
    txid, participant, decider = by_hand(shards, dbname, "COMMIT", where)
    with man.shard.session(dbname=dbname) as db:  # a fence, so that it is rolled back
        db.run("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES (%s, 'a', %s)", txid, "main/%s/x" % decider)
    rule.release()
    c.answer()
    assert c.error["C"] == "40001"
    (warning,) = c.warnings
    assert "torn" in warning["M"] and participant in warning["D"]
    assert "transaction %s is torn" % txid in proxy.since_mark()
    cleared(shards, dbname)
    assert c.on() == [shards.servers.index(where)]


def test_by_hand_as_decided_is_nobody_s_trouble(proxy, begin, fault, shards, dbname):
    before = torn_count(proxy)
    rule = fault(APPLY, SENT, HOLD)
    c = begin().send()
    man = rule.wait()
    txid, _, _ = by_hand(shards, dbname, "COMMIT", man.shard)
    rule.release()
    c.answer().committed()
    eventually(lambda: shards.each(dbname, "SELECT 1 FROM pgunison.decision WHERE txid = '%s'" % txid) == [[]] * SHARDS)
    assert torn_count(proxy) == before and torn(proxy, txid) == []


def test_rolled_back_by_hand_when_no_proxy_was_there(proxy, begin, fault, shards, dbname):
    """Decided, and the proxy is killed before it applied it. The next one finds the row, and asks."""
    rule = fault(APPLY, SENT, HOLD)
    begin().send()
    man = rule.wait()
    proxy.kill()
    txid, participant, decider = by_hand(shards, dbname, "ROLLBACK", man.shard)
    rule.release()
    proxy.start()
    with proxy.console() as console:  # what others have prepared is too young for its sweeps
        eventually(lambda: console.rows("RESOLVE " + txid) is not None and gids(shards, dbname) == [])
    eventually(lambda: torn(proxy, txid) == [(participant, decider)])
    assert "transaction %s is torn" % txid in proxy.since_mark()
    shards.each(dbname, "DELETE FROM pgunison.decision WHERE txid = '%s'" % txid)


# --- what clients have set -------------------------------------------------------------------------------------

SHADOWS = """
    CREATE SCHEMA IF NOT EXISTS shadow;
    CREATE OR REPLACE FUNCTION shadow.lie(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
    CREATE OR REPLACE FUNCTION shadow.pg_current_xact_id() RETURNS text LANGUAGE sql AS $$SELECT '1'::text$$;
    CREATE OR REPLACE FUNCTION shadow.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS $$SELECT NULL::text$$;
    CREATE OR REPLACE FUNCTION shadow.decode(text, text) RETURNS bytea LANGUAGE sql AS $$SELECT '\\x00'::bytea$$;
    CREATE OR REPLACE FUNCTION shadow.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$SELECT '\\x00'::bytea$$;
    DROP OPERATOR IF EXISTS shadow.<> (text, text);
    CREATE OPERATOR shadow.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.lie);
    DROP OPERATOR IF EXISTS shadow.= (text, text);
    CREATE OPERATOR shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.lie);
    CREATE DOMAIN shadow.bytea AS text CHECK (false)"""


def test_a_search_path_with_other_functions_in_front(proxy, begin, shards, dbname):
    shards.each(dbname, SHADOWS + "; GRANT USAGE ON SCHEMA shadow TO PUBLIC")
    try:
        begin(before=["SET search_path = shadow, pg_catalog, public"]).run().committed()
    finally:
        shards.each(dbname, "DROP SCHEMA shadow CASCADE")


@pytest.mark.parametrize("how", ["SET row_security = off", "SET LOCAL row_security TO 'off'", "SET row_security = 0"])
def test_row_security_off_as_dumps_set_it(proxy, begin, how):
    local = "LOCAL" in how
    begin(before=() if local else [how], last=[how] if local else ()).run().committed()


def test_no_room_for_prepared_statements(workspace, shards, dbname, ids):
    proxy = h.Proxy(workspace, shards, dbname, tables=TABLES, settings=dict(SETTINGS, max_prepared_statements=0))
    try:
        for how in ((), ["SET row_security = off"]):
            c = Commit(proxy, shards, dbname, ids, before=how)
            c.run().committed()
            c.wire.close()
    finally:
        proxy.stop()


# --- tables of earlier versions, and of others -----------------------------------------------------------------


@pytest.fixture
def fresh_database(shards, workspace):
    """A database without the decision table, and proxies on it."""
    name, made = "forged_%d" % next(fresh), []
    shards.make_database(name)
    for server in shards:
        with server.session(dbname=name) as db:
            db.run("CREATE TABLE marks (id int PRIMARY KEY, v int)")
            db.run("GRANT ALL ON marks TO PUBLIC")

    def start(extra=(), **options):
        proxy = h.Proxy(workspace, shards, name, tables=TABLES, settings=SETTINGS, start=False, **options)
        proxy.shard_extra = {s.name: dict(extra) for s in shards}
        proxy.configure()
        if extra:
            text = open(proxy.ini, encoding="utf-8").read().replace("admin_user = postgres\nadmin_user", "admin_user")
            with open(proxy.ini, "w", encoding="utf-8") as f:
                f.write(text)
        made.append(proxy)
        proxy.start()
        return proxy

    yield name, start
    for proxy in made:
        proxy.stop()
    for server in shards:
        with server.session(dbname=name) as db:
            for (gid,) in db.rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
                db.run("ROLLBACK PREPARED '%s'" % gid)
        with server.session(dbname="postgres") as db:
            db.run("DROP DATABASE %s WITH (FORCE)" % name)


def test_a_table_of_an_earlier_version_and_what_is_in_doubt(fresh_database, shards):
    """An earlier version's proxy died: s0 has committed one transaction, and not another. Nothing proves either."""
    name, start = fresh_database
    shards.each(name, OLDER_TABLE)
    with shards[0].session(dbname=name) as db:
        db.run("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES (%s, 'c', 'main/s0/s1,s2')", OLDER % 1)
        db.run("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES ('of a prankster', 'x', '')")
    for server in list(shards)[1:]:
        with server.session(dbname=name) as db:
            for n in (1, 2):
                db.run("BEGIN")
                db.run("INSERT INTO marks VALUES (%s, 0)", n)
                db.run("PREPARE TRANSACTION 'pgunison/main/s0/%s/%s'" % (OLDER % n, server.name))
    proxy = start()
    eventually(lambda: gids(shards, name) == [], 10)
    assert shards.each(name, "SELECT id FROM marks") == [[], [(1,)], [(1,)]]
    with shards[0].session(dbname=name) as db:
        assert db.one("SELECT outcome::text FROM pgunison.decision WHERE txid = %s", OLDER % 2) == "a"
        eventually(lambda: db.one("SELECT count(*) FROM pgunison.decision WHERE txid = %s", OLDER % 1) == 0)
    with shards[0].session(dbname=name, user="app") as db:
        assert db.fails("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES (%s, 'c', 'main/s0/s1')", OLDER % 3).pgcode == "42501"
    with proxy.session() as s:
        s.run("INSERT INTO marks VALUES " + ",".join("(%d, 1)" % i for i in range(100, 120)))
        assert s.one("SHOW pgunison.last_commit").startswith("two-phase")


def test_a_table_of_an_earlier_version_that_the_control_role_may_not_change(fresh_database, shards):
    """What to run is said; until then commits over shards fail, and nothing is decided by it."""
    name, start = fresh_database
    shards.each(name, OLDER_TABLE)
    for server in shards:
        with server.session(dbname="postgres") as db:
            role(db, "weak_keeper")
    proxy = start(extra={"admin_user": "weak_keeper"})
    eventually(lambda: "ADD COLUMN IF NOT EXISTS proof" in proxy.tail(200))
    with proxy.session() as s:
        e = s.fails("INSERT INTO marks VALUES " + ",".join("(%d, 1)" % i for i in range(20)))
        assert e.pgcode == "42703" and "proof" in str(e)
        assert s.rows("SELECT * FROM marks") == []
        text = proxy.tail(400)
        sql = text[text.index("SELECT pg_catalog.pg_advisory_xact_lock") :]
        sql = sql[: sql.index("GRANT INSERT ON TABLE pgunison.decision TO PUBLIC")] + "GRANT INSERT ON TABLE pgunison.decision TO PUBLIC"
        shards.each(name, sql)
        s.run("INSERT INTO marks VALUES " + ",".join("(%d, 1)" % i for i in range(20)))


def test_a_table_of_the_control_role_which_is_no_superuser(fresh_database, shards):
    """It can write fences as it owns the table; clients of other roles decide as ever."""
    name, start = fresh_database
    for server in shards:
        with server.session(dbname="postgres") as db:
            role(db, "keeper")
            db.run("GRANT CREATE ON DATABASE %s TO keeper" % name)
    proxy = start(extra={"admin_user": "keeper"}, users=h.Proxy.USERS + '"keeper" ""\n')
    eventually(lambda: all(r == [("keeper",)] for r in shards.each(name, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'decision'")))
    with proxy.session() as s:
        s.run("INSERT INTO marks VALUES " + ",".join("(%d, 1)" % i for i in range(20)))
        assert s.one("SHOW pgunison.last_commit").startswith("two-phase")
    with shards[1].session(dbname=name, user="keeper") as db:
        db.run("BEGIN")
        db.run("INSERT INTO marks VALUES (1000, 0)")
        db.run("PREPARE TRANSACTION 'pgunison/main/s0/%s/s1'" % txid_of(b"fedcba9876543210"))
    eventually(lambda: gids(shards, name) == [], 6)
    with shards[0].session(dbname=name) as db:
        assert db.one("SELECT count(*) FROM pgunison.decision WHERE outcome = 'a'") == 1


SQUATS = {
    "a table with a trigger": """CREATE TABLE pgunison.decision (txid text PRIMARY KEY, outcome "char", proof bytea, shards text, at timestamptz DEFAULT now());
        CREATE FUNCTION pgunison.up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE app SUPERUSER; RETURN NEW; END $$;
        CREATE TRIGGER up BEFORE INSERT ON pgunison.decision FOR EACH ROW EXECUTE FUNCTION pgunison.up()""",
    "a view with a function": """CREATE FUNCTION pgunison.up() RETURNS text LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE app SUPERUSER; RETURN 'main/s0/s1'; END $$;
        CREATE VIEW pgunison.decision AS SELECT ''::text AS txid, 'c'::"char" AS outcome, ''::bytea AS proof, pgunison.up() AS shards, now() AS at, '7'::xid AS xmin""",
    "an empty schema": "SELECT 1",
}


@pytest.mark.parametrize("squat", SQUATS)
def test_a_schema_that_somebody_else_made_first(fresh_database, shards, squat):
    """app owns the database, and so may make the schema. The control role, a superuser, must not run what it put there."""
    name, start = fresh_database
    for server in shards:
        with server.session(dbname=name, user="app") as db:
            db.run("CREATE SCHEMA pgunison")
            db.run(SQUATS[squat])
    with shards[1].session(dbname=name) as db:
        db.run("BEGIN")
        db.run("INSERT INTO marks VALUES (1, 0)")
        db.run("PREPARE TRANSACTION 'pgunison/main/s0/%s/s1'" % txid_of(b"fedcba9876543210"))
    proxy = start()
    eventually(lambda: "belongs to somebody else" in proxy.tail(200))
    with proxy.console() as console:
        eventually(lambda: [row["decision"] for row in console.dicts("SHOW UNRESOLVED")] == ["unreachable"])
        (row,) = console.dicts("SHOW UNRESOLVED")
        console.rows("RESOLVE " + row["txid"])
        console.rows("SHOW TRANSACTION " + row["txid"])
    for server in shards:
        with server.session(dbname="postgres") as db:
            assert not db.one("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'")
