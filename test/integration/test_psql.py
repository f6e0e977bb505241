"""psql on a terminal: what a person does."""
import os
import pty
import re
import select
import time

import pytest

import pgharness as h

TABLES = {"items": "hash(id)"}


class Terminal:
    def __init__(self, proxy):
        address, dbname = proxy.address()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PAGER="cat", TERM="dumb", PSQL_HISTORY="/dev/null", INPUTRC="/dev/null")
            os.execvp("psql", ["psql", "-X", "-n", *address, dbname])
        self.seen = ""
        self.expect(r"shop=> ")

    def expect(self, pattern, seconds=20):
        """Waits until what was printed since the last call matches."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            left = end - time.monotonic()
            assert left > 0, "no %r in %r" % (pattern, self.seen)
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace").replace("\r", "")
        match = re.search(pattern, self.seen)
        before, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def run(self, line, prompt=r"\nshop=[>*!]*[>#] "):
        self.type(line + "\n")
        return self.expect(prompt)

    def close(self):
        self.type("\\q\n")
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        return status


@pytest.fixture
def terminal(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE IF NOT EXISTS items (id int PRIMARY KEY, v int)")
        s.run("DELETE FROM items")
        s.run("INSERT INTO items VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50)")
    t = Terminal(proxy)
    yield t
    assert t.close() == 0


def test_describe_lists_and_shows(terminal):
    assert "items" in terminal.run("\\d")
    shown = terminal.run("\\d items")
    assert "id" in shown and "integer" in shown and "items_pkey" in shown
    assert "(5 rows)" in terminal.run("SELECT * FROM items ORDER BY id;")


def test_control_c_cancels_and_the_session_goes_on(terminal):
    terminal.type("SELECT pg_sleep(60);\n")
    h.eventually(lambda: running(terminal) > 0)
    terminal.type("\x03")
    assert "canceling statement due to user request" in terminal.expect(r"\nshop=> ")
    assert "(1 row)" in terminal.run("SELECT 1;")
    terminal.run("BEGIN;")
    terminal.run("UPDATE items SET v = 0 WHERE id = 1;")
    terminal.type("SELECT pg_sleep(60);\n")
    h.eventually(lambda: running(terminal) > 0)
    terminal.type("\x03")
    assert "canceling statement" in terminal.expect(r"\nshop=!> ")
    assert "current transaction is aborted" in terminal.run("SELECT 1;")
    assert "ROLLBACK" in terminal.run("ROLLBACK;")
    assert " 10\n" in terminal.run("SELECT v FROM items WHERE id = 1;")


def running(terminal):
    with terminal.console.session(dbname="postgres") as s:
        return s.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'")


@pytest.fixture(autouse=True)
def home_shard(terminal, shards):
    terminal.console = shards[0]


def test_watch_repeats_until_control_c(terminal):
    terminal.type("SELECT count(*) FROM items \\watch 0.2\n")
    for _ in range(3):
        terminal.expect(r"\(1 row\)")
    terminal.type("\x03")
    terminal.expect(r"shop=> ")
    assert "(1 row)" in terminal.run("SELECT 1;")


def test_copy_both_ways(terminal, tmp_path):
    out, more = tmp_path / "out.csv", tmp_path / "in.csv"
    assert "COPY 5" in terminal.run("\\copy items TO '%s' CSV" % out)
    assert sorted(out.read_text().splitlines()) == ["1,10", "2,20", "3,30", "4,40", "5,50"]
    more.write_text("".join("%d,%d\n" % (i, i) for i in range(100, 200)))
    assert "COPY 100" in terminal.run("\\copy items FROM '%s' CSV" % more)
    assert " 105\n" in terminal.run("SELECT count(*) FROM items;")
