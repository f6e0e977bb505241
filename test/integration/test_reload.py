"""RELOAD: clients stay, and a file with an error changes nothing. And how the program starts and ends."""
import os
import signal
import subprocess

import psycopg2
import pytest

import pgharness as h
from pgharness import PGUNISON, eventually

TABLES = {"items": "hash(id)"}


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE items (id int PRIMARY KEY, v int)")
        s.run("CREATE TABLE more (id int PRIMARY KEY, v int)")
        s.run("INSERT INTO items VALUES " + ",".join("(%d, 0)" % i for i in range(20)))


def setting(proxy, name):
    with proxy.console() as c:
        return {r["key"]: r["value"] for r in c.dicts("SHOW CONFIG")}[name]


@pytest.mark.parametrize("how", ["HUP", "RELOAD"])
def test_reload_takes_settings_and_keeps_clients(proxy, how):
    with proxy.session() as s, proxy.session() as t:
        t.run("BEGIN")
        t.run("UPDATE items SET v = v + 1")
        wanted = "23s" if how == "HUP" else "29s"
        proxy.settings["query_timeout"] = wanted
        proxy.configure()
        if how == "HUP":
            proxy.reload()
        else:
            with proxy.console() as c:
                c.run("RELOAD")
        eventually(lambda: setting(proxy, "query_timeout") in (wanted, wanted[:-1]))
        assert s.one("SELECT count(*) FROM items") == 20
        t.run("COMMIT")
        assert t.one("SELECT count(DISTINCT v) FROM items WHERE id = 1") == 1


def test_a_table_becomes_a_reference_table(proxy, shards, dbname):
    with proxy.session() as s:
        s.run("INSERT INTO more VALUES (1, 1)")
        assert [r[0][0] for r in shards.each(dbname, "SELECT to_regclass('more') IS NOT NULL")] == [True, False, False, False]
        s.run("DROP TABLE more")
        proxy.tables["more"] = "reference"
        proxy.configure()
        with proxy.console() as c:
            c.run("RELOAD")
        s.run("CREATE TABLE more (id int PRIMARY KEY, v int)")
        s.run("INSERT INTO more VALUES (1, 1)")
        assert [r[0][0] for r in shards.each(dbname, "SELECT count(*) FROM more")] == [1, 1, 1, 1]


def test_a_bad_file_is_refused_whole(proxy):
    with open(proxy.ini, encoding="utf-8") as f:
        good = f.read()
    before = setting(proxy, "query_timeout")
    with open(proxy.ini, "w", encoding="utf-8") as f:
        f.write(good.replace("query_timeout = ", "query_timeout = 5x"))
    with proxy.console() as c:
        assert c.fails("RELOAD").pgcode
    proxy.reload()
    eventually(lambda: "5x" in proxy.tail(100) or "query_timeout" in proxy.tail(100))
    assert setting(proxy, "query_timeout") == before
    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM items") == 20
    with open(proxy.ini, "w", encoding="utf-8") as f:
        f.write(good)


def test_new_users_may_log_in_after_a_reload(make_proxy):
    proxy = make_proxy(settings={"auth_type": "trust"}, users='"app" ""\n"postgres" ""\n')
    with pytest.raises(psycopg2.OperationalError):
        proxy.connect(user="scram")
    proxy.configure('"app" ""\n"postgres" ""\n"scram" "sesame"\n')
    with proxy.console() as c:
        c.run("RELOAD")
    with proxy.session(user="scram") as s:
        assert s.one("SELECT current_user") == "scram"
    proxy.stop()


def test_term_lets_open_transactions_end(make_proxy):
    def nobody_gets_in():
        try:
            proxy.session().close()
        except psycopg2.OperationalError:
            return True
        return False

    proxy = make_proxy()
    s = proxy.session()
    s.run("BEGIN")
    s.run("UPDATE items SET v = 500")
    process = proxy.process
    process.send_signal(signal.SIGTERM)
    eventually(nobody_gets_in, 5)  # who came before the signal did may still be let in
    s.run("COMMIT")
    assert process.wait(20) == 0
    proxy.workspace.running.remove(proxy)
    proxy.process = None
    s.close()


def test_term_does_not_wait_for_ever(make_proxy):
    proxy = make_proxy(settings={"shutdown_wait_timeout": "1s"})
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("UPDATE items SET v = 600"))
        proxy.stop(seconds=20)
        assert [h.fields(b)["C"] for k, b in w.until_closed() if k == "E"] in (["57P01"], [])


def test_quit_ends_at_once(make_proxy, shards, dbname):
    proxy = make_proxy()
    with proxy.wire() as w:
        w.ask(h.query("BEGIN"))
        w.ask(h.query("UPDATE items SET v = 700"))
        proxy.process.send_signal(signal.SIGQUIT)
        proxy.process.wait(10)
        proxy.workspace.running.remove(proxy)
        proxy.process = None
    eventually(lambda: sum(r[0][0] for r in shards.each(dbname, "SELECT count(*) FROM items WHERE v = 700")) == 0)


def run(*options):
    return subprocess.run([PGUNISON, *options], capture_output=True, text=True, timeout=60, check=False)


def test_the_first_write_after_the_first_start(make_proxy, workspace, dbname):
    """A new cluster, on which the proxy has yet to make the decision table. Who can connect can commit."""
    new = h.Cluster(workspace, 2)
    new.make_database(dbname)
    proxy = h.Proxy(workspace, new, dbname, tables=TABLES)
    with proxy.session() as s:
        assert s.run("CREATE TABLE items (id int PRIMARY KEY, v int)") == "CREATE TABLE"
    proxy.stop()
    for server in new:
        server.stop()


def test_command_line(proxy, tmp_path):
    assert run("--version").stdout.startswith("pgunison ")
    assert "(workers on %s, control thread on libevent)" % (os.environ.get("PGUNISON_POLLER") or "epoll") in run("--version").stdout
    assert "--check-config" in run("--help").stdout
    assert run("--nosuch", proxy.ini).returncode == 2
    assert run().returncode == 2
    assert run(str(tmp_path / "missing.ini")).returncode == 1
    assert run("--check-config", proxy.ini).returncode == 0
    bad = tmp_path / "bad.ini"
    bad.write_text("[pgunison]\npool_mod = transaction\n[database x]\nshards = a b\n[shard a]\nhost = h\n")
    done = run("--check-config", str(bad))
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert "bad.ini:2" in text and "pool_mode" in text
    assert len([line for line in text.splitlines() if "bad.ini:" in line]) >= 2  # every problem
    assert run(str(bad)).returncode == 1


def test_a_port_that_is_taken(proxy, tmp_path):
    taken = tmp_path / "taken.ini"
    with open(proxy.ini, encoding="utf-8") as f:
        taken.write_text(f.read().replace("unix_socket_dir = ", "unix_socket_dir = /nonexistent;"))
    (tmp_path / "userlist.txt").write_text("")
    done = run(str(taken))
    assert done.returncode == 3
    assert done.stderr


def test_route_prints_a_plan_without_a_shard(proxy):
    done = run("--route", "SELECT * FROM items WHERE id = 5", proxy.ini)
    assert done.returncode == 0, done.stderr
    assert "single" in done.stdout
    assert os.path.exists(proxy.ini)


def test_the_unix_socket_serves_too(proxy):
    with psycopg2.connect(host=proxy.home, port=proxy.port, dbname="shop", user="app") as c, c.cursor() as cur:
        cur.execute("SELECT count(*) FROM items")
        assert cur.fetchone() == (20,)
    c.close()
