"""The commit protocol when something breaks, with real processes: what the client is told, what is then on the shards, and
that it is cleared up without anybody's help. One test for each thing a client may be told (docs/commit-protocol.md §7).
"""
import itertools

import pytest

import pgharness as h
from mitm import ANSWERED, CUT, DOWN, HOLD, SENT, SILENT, Rule
from pgharness import eventually

TABLES = {"marks": "hash(id)"}
SHARDS = 3
RESOLVE_AFTER, RESOLVE_TIMEOUT = 1, 2
SETTINGS = {"resolve_after": "1s", "resolve_interval": "200ms", "commit_resolve_timeout": "2s", "server_login_retry": "100ms"}

PREPARE, DECIDE, APPLY = r"PREPARE TRANSACTION '", r"INSERT INTO pgunison\.decision .*; COMMIT$", r"^COMMIT PREPARED '"
fresh = itertools.count(1)


@pytest.fixture(scope="module")
def proxy(make_proxy, workspace, shards, middle, dbname):
    """All it knows of the shards is the men in the middle."""
    one = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=SETTINGS)
    with one.session() as s:
        s.run("CREATE TABLE marks (id int PRIMARY KEY, v int)")
    yield one
    one.stop()


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


class Commit:
    """A transaction that marks a row on each shard; then its COMMIT, step by step."""

    def __init__(self, proxy, shards, dbname, ids, user="app", before=(), last=()):
        self.shards, self.dbname, self.ids, self.value = shards, dbname, ids, next(fresh)
        self.wire = proxy.wire(user=user)
        self.wire.socket.settimeout(10)
        for sql in (*before, "BEGIN", *self.updates(), *last):
            got = self.wire.ask(h.query(sql))
            if got[-1][1] not in "IT" or got[0][0] == "E":
                self.wire.close()
                raise AssertionError("%s: %s" % (sql, got))

    def updates(self):
        return ["UPDATE marks SET v = %d WHERE id = %d" % (self.value, i) for i in self.ids]

    def send(self):
        self.wire.send(h.query("COMMIT"))
        return self

    def answer(self):
        """The tag or the error (its fields), after COMMIT."""
        self.tag = self.error = None
        self.warnings = []
        for kind, body in self.wire.until_ready():
            if kind == "C":
                self.tag = body[:-1].decode()
            elif kind == "E":
                self.error = h.fields(body)
            elif kind == "N":
                self.warnings.append(h.fields(body))
            elif kind == "Z":
                assert body == b"I"
        assert (self.tag is None) != (self.error is None)
        return self

    def run(self):
        return self.send().answer()

    def on(self):
        """The shards on which it is to be seen."""
        return [i for i, rows in enumerate(self.shards.each(self.dbname, "SELECT v FROM marks WHERE v = %s", self.value)) if rows]

    def committed(self, warned=False):
        assert self.tag == "COMMIT", self.error
        assert bool(self.warnings) == warned, self.warnings
        if not warned:
            assert self.on() == list(range(len(self.ids)))

    def rolled_back(self, *sqlstates):
        """Definitely: now and later, and the session goes on."""
        assert self.error, self.tag
        assert self.error["C"] in sqlstates, self.error
        cleared(self.shards, self.dbname)
        assert self.on() == []
        self.usable()

    def usable(self):
        assert self.wire.ask(h.query("SELECT 1"))[-2:] == [("C", "SELECT 1"), ("Z", "I")]


@pytest.fixture
def begin(proxy, shards, dbname, ids):
    made = []

    def start(**options):
        made.append(Commit(proxy, shards, dbname, ids, **options))
        return made[-1]

    yield start
    for c in made:
        c.wire.close()


@pytest.fixture
def fault(middle):
    rules = []

    def make(*args, **options):
        rule = Rule(*args, **options)
        rules.append(rule)
        for man in middle:
            man.rules.append(rule)
        return rule

    yield make
    for man in middle:
        man.rules.clear()
        man.up()
    for rule in rules:
        rule.release()


def gids(shards, dbname):
    return sum(shards.each(dbname, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"), [])


def cleared(shards, dbname):
    eventually(lambda: gids(shards, dbname) == [], RESOLVE_AFTER + 5)


def decided(shards, dbname):
    """Rows that say "committed". Fences stay for a day."""
    return sum(shards.each(dbname, "SELECT txid FROM pgunison.decision WHERE outcome = 'c'"), [])


def shown(proxy, txid):
    with proxy.console() as console:
        (outcome,) = {row["outcome"] for row in console.dicts("SHOW TRANSACTION " + txid)}
        return outcome


def txid_in(error):
    return error["D"].split("Transaction identifier: ")[1].split()[0]


@pytest.fixture(autouse=True)
def nothing_in_doubt(proxy, shards, dbname, fault):
    """After every test, however it ended: nothing is prepared for long, and every mark is on all shards or on none."""
    yield
    for man in proxy.cluster:
        man.rules.clear()
        man.up()
    cleared(shards, dbname)
    values = shards.each(dbname, "SELECT v FROM marks")
    assert values[0] == values[1] == values[2]


# --- prepare ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [SENT, ANSWERED])
def test_a_participant_lost_at_prepare(begin, fault, when):
    rule = fault(PREPARE, when, CUT)
    c = begin().run()
    rule.wait()
    c.rolled_back("08006")


def test_a_participant_that_stays_away_after_prepare(begin, fault, shards, dbname):
    """It was prepared, and nobody could say so. It is rolled back when it returns."""
    rule = fault(PREPARE, ANSWERED, DOWN)
    c = begin().run()
    man = rule.wait()
    assert c.error["C"] == "08006", c.error
    assert [r for r in shards.each(dbname, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") if r]
    man.up()
    c.rolled_back("08006")


def test_the_error_of_prepare_is_the_shards_own(begin, shards, dbname, ids):
    """Deferred constraints, failing on each shard in turn: that is at PREPARE, or, on the decider, at its COMMIT."""
    for bad in range(len(ids)):
        for _ in ids:  # each shard decides once
            with shards[bad].session(dbname=dbname) as db:
                db.run(REFUSE)
                db.run(
                    "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON marks DEFERRABLE INITIALLY DEFERRED"
                    " FOR EACH ROW EXECUTE FUNCTION refuse()"
                )
            try:
                c = begin().run()
                assert "not on this shard" in c.error["M"]
                c.rolled_back("23514")
            finally:
                with shards[bad].session(dbname=dbname) as db:
                    db.run("DROP TRIGGER refuse ON marks")


REFUSE = """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'not on this shard' USING ERRCODE = '23514'; END $$"""


def temporary(shard):
    return "/* pgunison: shard=s%d */ CREATE TEMPORARY TABLE mine (id int) ON COMMIT DROP" % shard


def test_the_shard_with_a_temporary_table_decides(begin, fault):
    for shard in (0, 0, 1, 1, 2, 2):  # nobody's turn is twice
        rule = fault(DECIDE, SENT, HOLD)
        c = begin(last=[temporary(shard)]).send()
        assert rule.wait().name == "s%d" % shard
        rule.release()
        c.answer().committed()


def test_a_temporary_table_of_an_earlier_transaction(begin, fault):
    """What the session made by hand stays there, and that shard decides from then on."""
    for shard in (2, 2, 1, 1, 0, 0):
        hand = "/* pgunison: shard=s%d */ " % shard
        rule = fault(DECIDE, SENT, HOLD)
        c = begin(before=[hand + "CREATE TEMPORARY TABLE kept (id int)"], last=[hand + "INSERT INTO kept VALUES (1)"]).send()
        assert rule.wait().name == "s%d" % shard
        rule.release()
        c.answer().committed()
        assert c.wire.ask(h.query(hand + "SELECT count(*) FROM kept"))[1] == ("D", b"1")


def test_two_shards_with_temporary_tables_are_refused_before_anything_is_prepared(begin, fault):
    rule = fault(PREPARE, SENT, CUT)
    c = begin(last=[temporary(0), temporary(1)]).run()
    assert c.error["C"] == "0A000" and c.error.get("H"), c.error
    assert not rule.fired.is_set()
    c.rolled_back("0A000")


def test_a_temporary_table_that_nobody_saw_being_used(begin):
    """In a function: PREPARE itself refuses, or that shard happens to decide."""
    for shard in range(SHARDS):
        hidden = "/* pgunison: shard=s%d */ DO $$ BEGIN CREATE TEMPORARY TABLE hidden (id int) ON COMMIT DROP; END $$" % shard
        c = begin(last=[hidden]).run()
        if c.tag:
            c.committed()
        else:
            c.rolled_back("0A000")


def test_a_block_begins_while_the_one_before_is_applied(workspace, middle, shards, dbname, ids, fault):
    """commit_ack = decided: BEGIN need not wait, the held shard's statement does, and so does COMMIT."""
    proxy = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=dict(SETTINGS, commit_ack="decided", commit_resolve_timeout="20s", resolve_after="30s"))
    try:
        rule = fault(APPLY, SENT, HOLD)
        c = Commit(proxy, shards, dbname, ids).run()
        assert c.tag == "COMMIT" and not c.warnings
        held = list(shards).index(rule.wait().shard)
        assert c.wire.ask(h.query("BEGIN"))[-2:] == [("C", "BEGIN"), ("Z", "T")]
        for i in [i for n, i in enumerate(ids) if n != held]:
            assert c.wire.ask(h.query("UPDATE marks SET v = v + 1000 WHERE id = %d" % i))[-2:] == [("C", "UPDATE 1"), ("Z", "T")]
        c.wire.send(h.query("UPDATE marks SET v = v + 1000 WHERE id = %d" % ids[held]))
        assert held not in c.on()
        rule.release()
        assert c.wire.until_ready()[-2:] == [("C", b"UPDATE 1\0"), ("Z", b"T")]
        c.value += 1000
        c.run()
        eventually(lambda: c.on() == list(range(len(ids))))
        c.usable()
        c.wire.close()
    finally:
        proxy.stop()


def test_a_cancel_leaves_the_commit_before_alone(workspace, middle, shards, dbname, ids, fault):
    """commit_ack = decided: a statement that runs while the commit before is being applied is cancelled, and nothing else."""
    proxy = h.Proxy(workspace, middle, dbname, tables=TABLES, settings=dict(SETTINGS, commit_ack="decided", commit_resolve_timeout="20s", resolve_after="30s"))
    try:
        rule = fault(APPLY, SENT, HOLD)
        c = Commit(proxy, shards, dbname, ids).run()
        man = rule.wait()
        free = next(n for n, shard in enumerate(shards) if shard != man.shard)
        eventually(lambda: free in c.on())
        cancels = man.cancels_waiting
        c.wire.send(h.query("SELECT pg_sleep(100) FROM marks WHERE id = %d" % ids[free]))
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%pg_sleep%%' AND state = 'active' AND pid <> pg_backend_pid()"
        eventually(lambda: shards.each(dbname, sleeping, dbname)[free][0][0])
        c.wire.cancel()
        assert [h.fields(body)["C"] for kind, body in c.wire.until_ready() if kind == "E"] == ["57014"]
        assert man.cancels_waiting == cancels
        rule.release()
        eventually(lambda: c.on() == list(range(len(ids))))
        c.usable()
        c.wire.close()
    finally:
        proxy.stop()


# --- decide ----------------------------------------------------------------------------------------------------


def test_the_decider_lost_before_it_decided(begin, fault):
    rule = fault(DECIDE, SENT, CUT)
    c = begin().run()
    rule.wait()
    c.rolled_back("40001")


def test_the_decider_lost_after_it_decided(begin, fault):
    rule = fault(DECIDE, ANSWERED, CUT)
    c = begin().run()
    rule.wait()
    c.committed()


def test_the_decider_lost_in_the_middle_of_its_commit(begin, fault, shards, dbname):
    """Its server process is ended while the others are prepared."""
    rule = fault(DECIDE, SENT, HOLD)
    c = begin().send()
    man = rule.wait()
    with man.shard.session(dbname=dbname) as db:
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()")
    rule.release()
    c.answer().rolled_back("40001")


@pytest.mark.parametrize("when, outcome", [(SENT, "aborted"), (ANSWERED, "committed")])
def test_the_outcome_is_unknown_while_the_decider_is_away(begin, fault, proxy, when, outcome):
    rule = fault(DECIDE, when, DOWN)
    c = begin().run()
    man = rule.wait()
    assert c.error["C"] == "08007", c.error
    txid = txid_in(c.error)
    assert shown(proxy, txid) == "in doubt"
    man.up()
    eventually(lambda: shown(proxy, txid) == outcome)
    cleared(c.shards, c.dbname)
    assert len(c.on()) == (SHARDS if outcome == "committed" else 0)
    c.usable()
    # A client asks when it finds the time; the decision's row may be gone by then.
    eventually(lambda: decided(c.shards, c.dbname) == [])
    assert shown(proxy, txid) == outcome


def test_a_decider_that_is_slow(begin, fault):
    """However long its COMMIT takes: it can be reached, so it is waited for."""
    rule = fault(DECIDE, ANSWERED, HOLD)
    c = begin().send()
    rule.wait()
    c.wire.socket.settimeout(RESOLVE_TIMEOUT * 2.5)
    with pytest.raises(TimeoutError):
        c.wire.receive()
    rule.release()
    c.answer().committed()


@pytest.mark.parametrize("when", [SENT, ANSWERED])
def test_a_decider_that_says_nothing(begin, fault, proxy, when):
    """The network drops everything, closing nothing. In the end the client is told that nobody knows; when the network is
    back, the decision may even arrive late."""
    rule = fault(DECIDE, when, SILENT)
    c = begin().run()
    man = rule.wait()
    assert c.error["C"] == "08007", c.error
    man.up()
    txid = txid_in(c.error)
    eventually(lambda: shown(proxy, txid) in ("committed", "aborted"))
    cleared(c.shards, c.dbname)
    outcome = shown(proxy, txid)
    assert outcome == "committed" or when == SENT
    assert len(c.on()) == (SHARDS if outcome == "committed" else 0)


def test_a_participant_that_says_nothing(begin, fault):
    rule = fault(PREPARE, ANSWERED, SILENT)
    c = begin().run()
    rule.wait().up()
    c.rolled_back("08006")


def test_a_decider_that_decides_too_late(begin, fault, shards, dbname):
    """Meanwhile a resolver has ended the transaction: as if another proxy's, it is older than resolve_after."""
    rule = fault(DECIDE, SENT, HOLD)
    c = begin().send()
    man = rule.wait()
    ((gid,), *_) = gids(shards, dbname)
    _, cluster, decider, txid, _ = gid.split("/")
    with man.shard.session(dbname=dbname) as db:
        db.run("INSERT INTO pgunison.decision (txid, outcome, shards) VALUES (%s, 'a', %s)", txid, "%s/%s/x" % (cluster, decider))
    rule.release()
    c.answer().rolled_back("40001")


# --- apply -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [SENT, ANSWERED])
def test_a_participant_lost_at_apply_is_committed_all_the_same(begin, fault, when):
    rule = fault(APPLY, when, CUT)
    c = begin().run()
    rule.wait()
    c.committed()


def test_a_participant_that_stays_away_after_the_decision(begin, fault, shards, dbname):
    rule = fault(APPLY, SENT, DOWN)
    c = begin().run()
    man = rule.wait()
    c.committed(warned=True)
    assert man.name in c.warnings[0]["D"]
    assert len(c.on()) == SHARDS - 1
    man.up()
    cleared(shards, dbname)
    assert len(c.on()) == SHARDS
    c.usable()


# --- what clients and administrators set -----------------------------------------------------------------------


def crash(server):
    server.stop(h.signal.SIGQUIT)
    server.start()


@pytest.mark.parametrize("how", ["session", "transaction", "role"])
def test_asynchronous_commit_is_not_for_decisions(begin, fault, shards, dbname, how):
    """The decider crashes when it has decided, before the proxy hears of it. What it decided is still there."""
    for server in shards:
        with server.session(dbname="postgres") as db:
            db.run("ALTER SYSTEM SET wal_writer_delay = '10s'")
            db.run("SELECT pg_reload_conf()")
            if how == "role":
                db.run("ALTER ROLE app IN DATABASE %s SET synchronous_commit = off" % dbname)
    try:
        before = ["SET synchronous_commit = off"] if how == "session" else []
        last = ["SET LOCAL synchronous_commit = off"] if how == "transaction" else []
        rule = fault(DECIDE, ANSWERED, HOLD)
        c = begin(before=before, last=last).send()
        crash(rule.wait().shard)
        rule.release()
        c.answer().committed()
    finally:
        for server in shards:
            with server.session(dbname="postgres") as db:
                db.run("ALTER SYSTEM RESET wal_writer_delay")
                db.run("SELECT pg_reload_conf()")
                db.run("ALTER ROLE app IN DATABASE %s RESET synchronous_commit" % dbname)


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"])
def test_tiny_timeouts_cannot_split_a_commit(begin, setting):
    """They may end it, but only all of it."""
    for n in range(6):
        c = begin()
        # In one go: the shortest would end the transaction before COMMIT came.
        c.wire.send(h.query("SET LOCAL %s = '%dms'" % (setting, 1 if n % 2 else 30)), h.query("COMMIT"))
        c.wire.until_ready()
        c.answer()
        if c.tag == "ROLLBACK":
            assert c.on() == []
        elif c.tag:
            c.committed()
        else:
            c.rolled_back("57014", "25P03", "08006", "40001", "55P03")


def test_a_role_that_may_not_decide(begin, shards, dbname):
    shards.each(dbname, "REVOKE INSERT ON pgunison.decision FROM PUBLIC")
    try:
        c = begin().run()
        assert "decision" in c.error["M"]
        c.rolled_back("42501")
    finally:
        shards.each(dbname, "GRANT INSERT ON pgunison.decision TO PUBLIC")
    begin().run().committed()


def test_a_decision_whose_statement_is_gone(begin, shards, dbname):
    """What the proxy had prepared is deallocated behind its back: that commit fails as a whole, the next does not."""
    forget = "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END$$"

    def failed():
        c = begin().run()
        if c.tag:
            c.committed()
            return False
        assert "pgunison_decide" in c.error["M"]
        c.rolled_back("26000")
        return True

    shards.each(dbname, forget + "; CREATE TRIGGER forget AFTER UPDATE ON marks FOR EACH ROW EXECUTE FUNCTION forget()")
    try:
        eventually(failed)
    finally:
        shards.each(dbname, "DROP FUNCTION forget() CASCADE")
    in_a_row = 0
    for _ in range(30):  # each connection to a shard notices when it decides next
        in_a_row = 0 if failed() else in_a_row + 1
    assert in_a_row >= 10


def test_a_decision_table_that_was_dropped(begin, proxy, shards, dbname):
    """It is noticed, reported, and nothing is committed by halves; RELOAD makes it again."""
    cleared(shards, dbname)
    eventually(lambda: decided(shards, dbname) == [])
    shards.each(dbname, "DROP TABLE pgunison.decision")
    c = begin().run()
    assert c.error["C"] == "42P01", c.error
    eventually(lambda: "pgunison.decision" in proxy.since_mark())
    with proxy.console() as console:
        console.run("RELOAD")
    eventually(lambda: all(r == [(True,)] for r in shards.each(dbname, "SELECT to_regclass('pgunison.decision') IS NOT NULL")))
    c.rolled_back("42P01")
    begin().run().committed()


def gone(proxy):
    """No client is there any more but this one."""
    with proxy.console() as console:
        return len(console.rows("SHOW CLIENTS")) == 1


# --- clients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage, when, there", [(PREPARE, SENT, False), (PREPARE, ANSWERED, False), (DECIDE, SENT, True), (DECIDE, ANSWERED, True), (APPLY, SENT, True)])
def test_a_client_that_goes_away_during_commit(begin, fault, proxy, shards, dbname, stage, when, there):
    """Once the proxy has noticed: before the decision was sent, nothing happened; after it, all did."""
    rule = fault(stage, when, HOLD)
    c = begin().send()
    rule.wait()
    c.wire.close()
    eventually(lambda: gone(proxy))
    rule.release()
    cleared(shards, dbname)
    assert len(c.on()) == (SHARDS if there else 0)


@pytest.mark.parametrize("stage, there", [(PREPARE, False), (DECIDE, True)])
def test_a_cancel_during_commit(begin, fault, stage, there):
    rule = fault(stage, SENT, HOLD)
    c = begin().send()
    rule.wait()
    c.wire.cancel()
    rule.release()
    c.answer()
    if there:
        c.committed()
    elif c.tag:
        c.committed()
    else:
        c.rolled_back("57014")


# --- others on the same servers --------------------------------------------------------------------------------


def test_prepared_transactions_of_others_are_never_touched(begin, proxy, shards, dbname):
    names = ["pgunison", "pgunison/main", "pgunison/main/", "pgunison/main2/s0/00000000000000000000000000000001-1/s1"]
    names += ["PGUNISON/main/s0/00000000000000000000000000000001-1/s1", "pgunison/main/s0/short/s1"]
    with shards[1].session(dbname=dbname) as db:
        db.run("CREATE TABLE others (name text)")
        try:
            for name in names:
                db.run("BEGIN")
                db.run("INSERT INTO others VALUES (%s)", name)
                db.run("PREPARE TRANSACTION '%s'" % name)
            eventually(lambda: db.one("SELECT min(clock_timestamp() - prepared) > '1.5 s' FROM pg_prepared_xacts"))
            with proxy.console() as console:
                console.run("RESOLVE")
            assert sorted(names) == sorted(g for (g,) in gids(shards, dbname))
        finally:
            for name in names:
                db.run("ROLLBACK PREPARED '%s'" % name)
            db.run("DROP TABLE others")


def test_in_the_end_all_decisions_are_collected(begin, shards, dbname):
    """Rows are collected in batches, after two looks that agree."""
    begin().run().committed()
    eventually(lambda: decided(shards, dbname) == [], 20)
