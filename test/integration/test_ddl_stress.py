"""DDL of every kind beside statements of both protocols, on several workers, while configurations are reloaded, statements
cancelled, clients vanish and servers are terminated. The proxy lives, nobody waits for ever, and a client that has nothing to do
with any of it is served rightly all the time.

STRESS_SECONDS=600 STRESS_SEED=7: for longer, another choice (make check-stress).
"""
import contextlib
import os
import random
import re
import socket
import threading
import time

import psycopg2
import pytest

import pgharness as h
from pgharness import eventually

SHARDS = 2
SECONDS = float(os.environ.get("STRESS_SECONDS", "20"))
SEED = int(os.environ.get("STRESS_SEED", "1"))
TABLES = {"tenants": "hash(id)", "orders": "hash(tenant_id)", "made": "hash(id)", "ref": "reference", "calm": "hash(id)"}
SETTINGS = {"workers": 4, "default_pool_size": 8, "reserve_pool_size": 2, "query_wait_timeout": "20s", "plan_cache_bytes": "256kB", "log_connections": 0, "log_disconnections": 0, "log_pooler_errors": 0}
SECTIONS = """
[database other]
shards = s0
"""
# Shards end what waits for another client over two shards.
LIMITS = {"statement_timeout": "4s", "lock_timeout": "1s", "idle_in_transaction_session_timeout": "4s"}
HANGS = 45  # seconds without an answer

SCHEMA = """
CREATE TABLE tenants (id int PRIMARY KEY, name text, v int DEFAULT 0)
CREATE TABLE orders (tenant_id int, id int, v int, PRIMARY KEY (tenant_id, id))
CREATE TABLE ref (id int PRIMARY KEY, name text)
CREATE TABLE calm (id int PRIMARY KEY, v int)
CREATE TABLE notes (id int, body text)
INSERT INTO ref VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')
"""

READS = """
select count(*) from tenants
select id, name from tenants order by id limit 5
select * from tenants where id = {n}
select sum(v), avg(v), min(name), count(*) from tenants
select * from notes limit 3
select * from ref where id = {n}
select t.id, o.v from tenants t join orders o on o.tenant_id = t.id where t.id = {n}
select * from made where id = {n}
select count(*) from made
select x.* from unknown_{n} x
select * from s{s}.things
select * from v{s}
select count(*) from tx
select 1; select count(*) from tenants; select 2
copy tenants to stdout
copy (select * from tenants where id = {n}) to stdout
explain (route) select * from tenants where id = {n}
show search_path
""".strip().split("\n")

WRITES = """
insert into tenants values ({i}, 'x', {n}) on conflict do nothing
insert into tenants values ({i}, 'a', 1), ({j}, 'b', 2) on conflict do nothing
update tenants set v = v + 1 where id = {n}
update tenants set v = v + 1
delete from orders where tenant_id = {n}
insert into orders values ({n}, {i}, 1) on conflict do nothing
insert into notes values ({n}, 'b')
insert into made values ({i})
update ref set name = 'm{n}' where id = {n}
""".strip().split("\n")

DDL = """
create temp table tx(a int); drop table tx
create temp table tx(a int)
drop table tx
drop table if exists tx
create temp table tx(a int) on commit drop
create table if not exists made (id int)
create table made (id int primary key, v text)
drop table if exists made
drop table if exists nope, made
drop table if exists made, nope, notes_{n}
drop table if exists nope
drop table made
create table notes_{n} (id int, v text)
drop table if exists notes_{n}
drop table if exists notes_{n}, notes_{s}, ref_nope
alter table tenants add column if not exists c{s} int
alter table tenants drop column if exists c{s}
alter table tenants rename column c{s} to d{s}
alter table if exists made add column w{s} int
alter table if exists nope add column w int
alter table orders add constraint k{s} check (v > -100000)
alter table orders drop constraint if exists k{s}
alter table tenants alter column v set default {n}
alter table notes rename to notes_r
alter table if exists notes_r rename to notes
alter table notes set (fillfactor = 80)
create index if not exists i{s} on tenants (name)
create index concurrently if not exists ic{s} on tenants (v)
drop index if exists i{s}
drop index if exists nope, i{s}
drop index concurrently if exists ic{s}
reindex table tenants
vacuum tenants
analyze
analyze tenants, ref
truncate made
truncate orders
create schema if not exists s{s}
drop schema if exists s{s} cascade
drop schema if exists s{s}, nope cascade
create table if not exists s{s}.things (id int)
alter schema s{s} rename to s{s}x
create or replace view v{s} as select * from notes
drop view if exists v{s}
drop view if exists nope, v{s}
create materialized view if not exists mv{s} as select 1 as a
refresh materialized view mv{s}
drop materialized view if exists mv{s}
create sequence if not exists q{s}
select nextval('q{s}')
drop sequence if exists q{s}, nope
create type mood{s} as enum ('a', 'b')
alter type mood{s} add value if not exists 'c'
drop type if exists mood{s}
create domain dom{s} as int check (value > 0)
drop domain if exists dom{s}
create or replace function f{s}() returns int language sql as 'select {n}'
select f{s}()
drop function if exists f{s}()
create extension if not exists plpgsql
create extension if not exists nope
drop extension if exists nope
comment on table tenants is 'c{n}'
create statistics if not exists st{s} on v, name from tenants
create statistics st on a from (values (1)) x
drop statistics if exists st{s}
create rule r{s} as on update to notes do also nothing
drop rule if exists r{s} on notes
create trigger tg{s} before update on notes for each row execute function suppress_redundant_updates_trigger()
drop trigger if exists tg{s} on notes
grant select on tenants to public
grant select on all tables in schema public to public
revoke insert on ref from public
cluster tenants using tenants_pkey
lock table ref in share mode
create table part (id int) partition by range (id)
create table part_{s} partition of part for values from ({s}0) to ({s}9)
drop table if exists part
create table copied as select * from ref
select * into copied from ref
drop table if exists copied
create unlogged table if not exists unl{s} (id int)
drop table if exists unl{s}
create policy p{s} on notes using (true)
drop policy if exists p{s} on notes
discard all
discard temp
discard plans
create aggregate agg{s}(int) (sfunc = int4pl, stype = int)
drop aggregate if exists agg{s}(int)
create collation if not exists co{s} from "C"
drop collation if exists co{s}
create text search configuration ts{s} (copy = simple)
drop text search configuration if exists ts{s}
create publication pu{s} for table notes
drop publication if exists pu{s}
create cast (text as int4) with inout
drop owned by nobody_here
import foreign schema x from server y into public
security label on table tenants is 'x'
checkpoint
""".strip().split("\n")

SESSION = """
set search_path = s{s}, public
set search_path = public
reset all
set enable_sort = off
set statement_timeout = '{n}s'
set jit = off
set vacuum_cost_delay = {s}
set local search_path = s{s}
listen ch{s}
unlisten *
notify ch{s}
begin
begin isolation level repeatable read
commit
rollback
savepoint a
rollback to a
release a
declare c{s} cursor for select * from notes
fetch 1 from c{s}
close all
prepare p{s} as select 1
execute p{s}
deallocate all
do $$ begin perform 1; end $$
select set_config('search_path', 'public', false)
selec {n}
""".strip().split("\n")


def fill(rng, text):
    return re.sub(
        r"\{(\w)\}",
        lambda m: str({"n": rng.randint(1, 20), "s": rng.randint(0, 3), "i": rng.randint(1, 300), "j": rng.randint(1, 300)}[m.group(1)]),
        text,
    )


class Recorder(h.Wire):
    """Remembers what went to and fro, for the report."""

    history = ()

    def send(self, *messages):
        self.history = [*self.history[-200:], *[m.replace(b"\0", b" ") for m in messages]]
        super().send(*messages)

    def receive(self):
        kind, body = super().receive()
        self.history = [*self.history[-200:], "%s %r" % (kind, body[:80])]
        return kind, body


class Crowd:
    """Threads that do as they like until the time is over. What they must not meet is kept."""

    def __init__(self, proxy, shards, dbname):
        self.proxy, self.shards, self.dbname = proxy, shards, dbname
        self.end = time.monotonic() + SECONDS
        self.problems, self.done, self.threads, self.lock = [], 0, [], threading.Lock()

    def going(self):
        return time.monotonic() < self.end and not self.problems and self.proxy.process.poll() is None

    def start(self, act, *args):
        thread = threading.Thread(target=self._guard, args=(act, *args), daemon=True)
        self.threads.append(thread)
        thread.start()

    def _guard(self, act, *args):
        try:
            act(*args)
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append("%s%r: %r" % (act.__name__, args, e))

    def finish(self):
        for thread in self.threads:
            thread.join(max(1, self.end + HANGS + 30 - time.monotonic()))
        assert not self.problems, "\n".join(self.problems)
        assert not any(t.is_alive() for t in self.threads), "some never ended"

    def count(self):
        with self.lock:
            self.done += 1

    # --- who they are ---

    def _connect(self, rng):
        for _ in range(200):
            try:
                return Recorder(
                    self.proxy.port, rng.choice(["app", "postgres"]), rng.choice([h.DATABASE] * 4 + ["other"]), timeout=HANGS
                )
            except h.Closed:
                time.sleep(0.05)  # a server of its login was terminated
            except ConnectionError:
                if self.proxy.process.poll() is not None:
                    return None
        raise AssertionError("no login any more")

    def _choose(self, rng):
        return fill(rng, rng.choice(rng.choices([READS, WRITES, DDL, SESSION], [5, 2, 4, 1])[0]))

    def _answer(self, rng, w):
        """To the end, or not at all; asked for data, gives some. False: the connection is over."""
        while True:
            kind, body = w.receive()
            if kind == "Z":
                return True
            if kind == "G":
                w.send(h.copy_data(b"%d\tx\t1\n" % rng.randint(1, 300)), rng.choice([h.COPY_DONE, h.copy_fail("no")]))
            if kind == "E" and h.fields(body)["S"] == "FATAL":
                return False

    def _once(self, rng, w):
        dice = rng.random()
        if dice < 0.55:
            w.send(h.query(self._choose(rng)))
        elif dice < 0.6:
            w.send(h.query("; ".join(self._choose(rng) for _ in range(rng.randint(2, 4)))))
        elif dice < 0.62:
            w.send(h.query("copy %s from stdin" % rng.choice(["tenants", "notes", "made", "nope"])))
        else:
            messages, name = [], rng.choice(["", "", "a", "b"])
            for _ in range(rng.randint(1, 4)):
                sql = self._choose(rng)
                if name:
                    messages.append(h.close("S", name))
                messages += [h.parse(sql, name), h.bind(name=name)]
                if rng.random() < 0.5:
                    messages.append(h.describe("P"))
                messages.append(h.execute())
                if rng.random() < 0.2:
                    messages.append(h.FLUSH)
            w.send(*messages, h.SYNC)
        if rng.random() < 0.03:
            w.cancel()
        return self._answer(rng, w)

    def client(self, seed):
        rng, w = random.Random(seed), None
        while self.going():
            w = w or self._connect(rng)
            if not w:
                return
            try:
                alive = self._once(rng, w)
                self.count()
            except (h.Closed, BrokenPipeError, ConnectionError):
                alive = False
            except socket.timeout:
                raise AssertionError("no answer: %s" % w.history[-12:]) from None
            if alive and rng.random() < 0.01:  # vanishes in the middle of something
                w.send(h.query(self._choose(rng)))
                alive = False
            if not alive:
                w.close()
                w = None
        if w:
            w.close()

    def calm(self, i):
        """Has nothing to do with the others: everything is right, unless its own server was terminated."""
        session, value = None, None
        while self.going():
            try:
                session = session or self.proxy.session(connect_timeout=HANGS)
                if value is None:
                    session.run("INSERT INTO calm VALUES (%s, 0) ON CONFLICT (id) DO UPDATE SET v = 0", i)
                    value = 0
                session.run("UPDATE calm SET v = v + 1 WHERE id = %s", i)
                value += 1
                got = session.one("SELECT v FROM calm WHERE id = %s", i)
                assert got == value, "calm %d: %s instead of %s" % (i, got, value)
            except psycopg2.Error as e:
                assert e.pgcode in (None, "57P01", "08006", "57014", "55P03", "53300"), e
                with contextlib.suppress(psycopg2.Error):
                    session and session.close()
                session, value = None, None

    def looper(self, sql):
        w = None
        while self.going():
            try:
                w = w or self.proxy.wire(timeout=HANGS)
                w.ask(h.query(sql))
                self.count()
            except (h.Closed, ConnectionError):
                w = None

    def reloader(self):
        n = 0
        while self.going():
            time.sleep(0.3)
            n += 1
            if n % 3 == 0:
                self.proxy.tables["later"] = "hash(id)" if n % 2 else "reference"
                self.proxy.configure()
            self.proxy.reload()

    def terminator(self, seed):
        rng = random.Random(seed)
        while self.going():
            time.sleep(rng.uniform(0.1, 0.6))
            shard = rng.choice(list(self.shards))
            with shard.session(dbname="postgres") as db:
                db.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
                    " ORDER BY random() LIMIT %s",
                    self.dbname,
                    rng.randint(1, 3),
                )

    def console(self):
        while self.going():
            with contextlib.suppress(psycopg2.OperationalError), self.proxy.console() as c:
                for what in ("CLIENTS", "SERVERS", "POOLS", "TABLES", "STATS", "TRANSACTIONS", "UNRESOLVED"):
                    with contextlib.suppress(psycopg2.Error):
                        c.rows("SHOW " + what)
                with contextlib.suppress(psycopg2.Error):
                    c.run("RECONNECT")
            time.sleep(0.5)


@pytest.fixture(scope="module")
def stressed(make_proxy, shards, dbname):
    for shard in shards:
        with shard.session(dbname="postgres") as db:
            for name, value in LIMITS.items():
                db.run("ALTER DATABASE %s SET %s = '%s'" % (dbname, name, value))
    proxy = make_proxy()
    with proxy.session() as s:
        for line in SCHEMA.strip().split("\n"):
            s.run(line)
    return proxy


def test_temporary_tables_beside_scattered_reads(stressed, shards, dbname):
    """Each of them makes catalogs new while others' catalog queries are under way."""
    crowd = Crowd(stressed, shards, dbname)
    crowd.end = time.monotonic() + min(SECONDS, 5)
    for _ in range(3):
        crowd.start(crowd.looper, "select count(*) from tenants")
    for _ in range(2):
        crowd.start(crowd.looper, "create temp table tx(a int); drop table tx")
    crowd.start(crowd.looper, "select * from nope")
    crowd.finish()
    stressed.check()


def test_everything_at_once(stressed, shards, dbname):
    crowd = Crowd(stressed, shards, dbname)
    for i in range(10):
        crowd.start(crowd.client, SEED * 1000 + i)
    for i in range(2):
        crowd.start(crowd.calm, i)
    crowd.start(crowd.reloader)
    crowd.start(crowd.console)
    crowd.start(crowd.terminator, SEED)
    crowd.finish()
    stressed.check()
    print("STRESS_SEED=%d: %d requests" % (SEED, crowd.done))
    assert crowd.done > 20 * min(SECONDS, 5)
    eventually(lambda: not shards.prepared(), 30)
    with stressed.session() as s:
        assert s.one("SELECT 1") == 1
