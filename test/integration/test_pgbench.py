"""pgbench as it is, through the proxy: all of its modes, and its balances add up."""
import re
import subprocess

import pytest

from pgharness import tool

TABLES = {
    "pgbench_accounts": "hash(aid)",
    "pgbench_tellers": "hash(tid)",
    "pgbench_branches": "hash(bid)",
    "pgbench_history": "hash(aid)",
}
SETTINGS = {"default_pool_size": 20}


def pgbench(proxy, *options):
    where, dbname = proxy.address()
    done = subprocess.run([tool("pgbench"), *where, *options, dbname], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + proxy.tail()
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def initialised(proxy):
    pgbench(proxy, "-i", "-s", "2", "-q")


def sums(proxy):
    with proxy.session() as s:
        return [
            s.one("SELECT sum(%s) FROM %s" % pair)
            for pair in (
                ("abalance", "pgbench_accounts"),
                ("tbalance", "pgbench_tellers"),
                ("bbalance", "pgbench_branches"),
                ("delta", "pgbench_history"),
            )
        ]


def processed(output):
    return int(re.search(r"number of transactions actually processed: (\d+)", output).group(1))


def test_initialisation_spread_the_rows(proxy, shards, dbname):
    counts = [r[0][0] for r in shards.each(dbname, "SELECT count(*) FROM pgbench_accounts")]
    assert sum(counts) == 200000 and min(counts) > 40000
    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM pgbench_accounts") == 200000
        assert s.one("SELECT count(*) FROM pgbench_tellers") == 20
        assert s.one("SELECT count(*) FROM pgbench_branches") == 2


@pytest.mark.parametrize("more", [(), ("-C",)], ids=["connected", "reconnecting"])
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_tpcb_adds_up(proxy, shards, mode, more):
    with proxy.session() as s:
        before = s.one("SELECT count(*) FROM pgbench_history")
    n = 10 if more else 150
    output = pgbench(proxy, "-n", "-M", mode, "-c", "8", "-j", "2", "-t", str(n), *more)
    assert processed(output) == 8 * n
    assert "number of failed transactions: 0" in output
    with proxy.session() as s:
        assert s.one("SELECT count(*) FROM pgbench_history") == before + 8 * n
    assert len(set(sums(proxy))) == 1
    assert shards.prepared() == []


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_select_only(proxy, mode):
    output = pgbench(proxy, "-n", "-S", "-M", mode, "-c", "8", "-j", "2", "-t", "500")
    assert processed(output) == 4000


def test_most_transactions_were_two_phase(proxy):
    with proxy.console() as c:
        (row,) = c.dicts("SHOW TWO_PHASE")
    assert int(row["two-phase"]) > 1000


def test_pipelines_of_pgbench(proxy, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text(
        "\\set a random(1, 200000)\n\\set b random(1, 200000)\n\\startpipeline\n"
        "SELECT abalance FROM pgbench_accounts WHERE aid = :a;\nSELECT abalance FROM pgbench_accounts WHERE aid = :b;\n"
        "UPDATE pgbench_accounts SET abalance = abalance WHERE aid = :a;\n\\endpipeline\n"
    )
    output = pgbench(proxy, "-n", "-M", "extended", "-f", str(script), "-c", "4", "-t", "200")
    assert processed(output) == 800
