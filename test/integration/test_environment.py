"""Who runs the proxy, and in which surroundings: neither root's rights nor the environment have a say in what it does."""
import os
import pwd
import subprocess

import pytest

import pgharness as h

SHARDS = 2

HOSTILE = {
    "PGSERVICE": "elsewhere",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGPASSWORD": h.PASSWORD,
    "PGSSLMODE": "verify-full",
    "PGREQUIRESSL": "1",
    "PGSSLROOTCERT": "/dev/null",
    "PGSSLCERT": "/dev/null",
    "PGSSLKEY": "/dev/null",
    "PGSSLCRL": "/dev/null",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGREQUIREPEER": "nobody",
    "PGGSSENCMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGKRBSRVNAME": "x",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
    "PGAPPNAME": "x",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "SQL, DMY",
    "PGGEQO": "off",
    "PGLOADBALANCEHOSTS": "random",
    "PGREQUIREAUTH": "scram-sha-256",
}


@pytest.fixture
def surroundings(monkeypatch, workspace):
    """A home folder and variables that would lead libpq astray."""
    home = workspace.folder("home")
    os.mkdir(os.path.join(home, ".postgresql"))
    service = "[elsewhere]\nhost=192.0.2.1\nport=1\ndbname=nowhere\n"
    files = {".pgpass": "*:*:*:*:%s\n" % h.PASSWORD, ".pg_service.conf": service, "pg_service.conf": service}
    files.update({".postgresql/" + name: "nonsense\n" for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key")})
    for name, text in files.items():
        path = os.path.join(home, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(path, postgres.pw_uid, postgres.pw_gid)
    for name, value in {**HOSTILE, "HOME": home, "PGSYSCONFDIR": home, "PGPASSFILE": os.path.join(home, ".pgpass")}.items():
        monkeypatch.setenv(name, value)
    yield home


def test_the_environment_does_not_steer_the_proxy(surroundings, workspace, shards, dbname, monkeypatch):
    proxy = h.Proxy(workspace, shards, dbname, tables={"t": "hash(id)"}, start=False, users='"app" ""\n"postgres" ""\n"scram" ""\n')
    proxy.start()
    try:
        for name in [n for n in os.environ if n.startswith("PG")]:
            monkeypatch.delenv(name)  # now it is the client's turn
        with proxy.wire() as w:
            assert w.parameters["TimeZone"] == "UTC" and w.parameters["DateStyle"] == "ISO, MDY" and w.parameters["client_encoding"] == "UTF8"
        with proxy.session() as s:
            s.run("CREATE TABLE t (id bigint)")
            assert s.run("INSERT INTO t SELECT 1") == "INSERT 0 1"
            assert s.one("SELECT count(*) FROM t") == 1
            assert s.one("SHOW search_path") == '"$user", public'
            s.run("DROP TABLE t")
        # A password that stands in ~/.pgpass is not one that was configured.
        with pytest.raises(Exception, match="password"):
            proxy.session(user="scram").one("SELECT 1")
        with open("/proc/%d/environ" % proxy.process.pid, "rb") as f:
            assert b"PGSERVICE=elsewhere" in f.read()  # it was there
    finally:
        proxy.stop()


def test_files_at_home_do_not_change_what_sslmode_means(surroundings, workspace, shards, dbname, monkeypatch):
    """~/.postgresql/root.crt would make require the same as verify-ca; here the servers have no TLS at all."""
    proxy = h.Proxy(workspace, shards, dbname, start=False, settings={"server_tls_sslmode": "prefer"})
    proxy.start()
    try:
        for name in [n for n in os.environ if n.startswith("PG")]:
            monkeypatch.delenv(name)
        with proxy.session() as s:
            assert s.one("SELECT 1") == 1
    finally:
        proxy.stop()


# --- root ----------------------------------------------------------------------------------------------------------

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def start_as_root(proxy, *options):
    return subprocess.run([h.PGUNISON, *options, proxy.ini], capture_output=True, text=True, timeout=60, check=False, cwd=proxy.home)


@root
@pytest.mark.parametrize("options", [(), ("-d",), ("-u", "root"), ("-u", "nobody-of-that-name")])
def test_it_does_not_run_as_root(workspace, shards, dbname, options):
    proxy = h.Proxy(workspace, shards, dbname, start=False)
    proxy.settings.update(pidfile=os.path.join(proxy.home, "pid"), logfile=os.path.join(proxy.home, "out"))
    proxy.configure()
    done = start_as_root(proxy, *options)
    assert done.returncode == 3 and ("root" in done.stderr or "not known" in done.stderr)
    assert not os.path.exists(os.path.join(proxy.home, "pid"))


@root
def test_root_may_look_at_the_configuration(workspace, shards, dbname):
    proxy = h.Proxy(workspace, shards, dbname, start=False)
    assert start_as_root(proxy, "--check-config").returncode == 0


@root
@pytest.mark.parametrize("how", ["option", "setting"])
def test_roots_rights_are_given_up(workspace, shards, dbname, how):
    """Ports below 1024 and keys that only root reads can be used; nothing else of root is left."""
    proxy = h.Proxy(workspace, shards, dbname, start=False)
    key = os.path.join(proxy.home, "key.pem")
    certificate = os.path.join(proxy.home, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    os.chmod(key, 0o600)
    os.chown(key, 0, 0)
    pidfile, logfile = os.path.join(proxy.home, "pid"), os.path.join(proxy.home, "out")
    proxy.settings.update(pidfile=pidfile, logfile=logfile, client_tls_sslmode="allow", client_tls_cert_file=certificate, client_tls_key_file=key)
    if how == "setting":
        proxy.settings["user"] = "postgres"
    proxy.configure()
    done = start_as_root(proxy, "-d", *(("-u", "postgres") if how == "option" else ()))
    assert done.returncode == 0, done.stderr
    with open(pidfile, encoding="utf-8") as f:
        pid = int(f.read())
    try:
        postgres = pwd.getpwnam("postgres")
        groups = os.getgrouplist("postgres", postgres.pw_gid)
        tasks = os.listdir("/proc/%d/task" % pid)
        assert len(tasks) > 2
        for task in tasks:
            with open("/proc/%d/task/%s/status" % (pid, task), encoding="utf-8") as f:
                status = dict(line.rstrip("\n").split(":", 1) for line in f if ":" in line)
            assert status["Uid"].split() == [str(postgres.pw_uid)] * 4
            assert status["Gid"].split() == [str(postgres.pw_gid)] * 4
            assert sorted(map(int, status["Groups"].split())) == sorted(groups)
            for capabilities in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
                assert int(status[capabilities], 16) == 0
        with proxy.session(sslmode="require") as s:
            assert s.one("SELECT 1") == 1
        assert os.stat(logfile).st_uid == postgres.pw_uid
        assert os.stat(os.path.join(proxy.home, ".s.PGSQL.%d" % proxy.port)).st_uid == postgres.pw_uid
    finally:
        os.kill(pid, 15)
        h.eventually(lambda: not os.path.exists("/proc/%d" % pid) or open("/proc/%d/stat" % pid, encoding="utf-8").read().split()[2] == "Z", 20)
    assert not os.path.exists(pidfile)


@root
def test_no_link_is_followed_when_the_pid_file_is_written(workspace, shards, dbname):
    proxy = h.Proxy(workspace, shards, dbname, start=False)
    victim = os.path.join(workspace.path, "victim-%s" % os.path.basename(proxy.home))
    with open(victim, "w", encoding="utf-8") as f:
        f.write("precious")
    pidfile = os.path.join(proxy.home, "pid")
    os.symlink(victim, pidfile)
    proxy.settings["pidfile"] = pidfile
    proxy.configure()
    done = start_as_root(proxy, "-u", "postgres")
    assert done.returncode == 3 and "pid file" in done.stderr
    with open(victim, encoding="utf-8") as f:
        assert f.read() == "precious"
