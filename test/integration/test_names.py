"""Shards whose hosts are names: they are looked up by the control thread, for all workers."""
import psycopg2
import pytest

import pgharness as h

SHARDS = 2


@pytest.mark.parametrize("host", ["localhost", "no-such-host.invalid,localhost"])
def test_a_shard_is_found_by_its_name(workspace, shards, dbname, monkeypatch, host):
    for server in shards:
        monkeypatch.setattr(server, "host", host, raising=False)
    proxy = h.Proxy(workspace, shards, dbname, tables={"named": "hash(id)"})
    try:
        with proxy.session() as s:
            s.run("CREATE TABLE named (id bigint)")
            s.run("INSERT INTO named VALUES " + ",".join("(%d)" % i for i in range(100)))
            assert s.one("SELECT count(*) FROM named") == 100
            s.run("DROP TABLE named")
    finally:
        proxy.stop()


def test_a_shard_whose_name_is_unknown_is_an_error_and_others_go_on(workspace, shards, dbname, monkeypatch):
    monkeypatch.setattr(shards[1], "host", "no-such-host.invalid", raising=False)
    proxy = h.Proxy(workspace, shards, dbname, tables={"named": "hash(id)"}, settings={"server_login_retry": "100ms"})
    try:
        with proxy.session() as s:
            assert s.one("SELECT 1") == 1
            with pytest.raises(psycopg2.Error, match="no-such-host.invalid") as e:
                s.run("CREATE TABLE named (id bigint)")
            assert e.value.pgcode == "08006"
            assert s.one("SELECT 1") == 1
    finally:
        proxy.stop()
