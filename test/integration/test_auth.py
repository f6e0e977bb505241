"""Logging in: libpq is the other side, and a plain server says what is right."""
import hashlib
import os
import time

import psycopg2
import pytest

import pgharness as h

TABLES = {}
SETTINGS = {"auth_type": "scram-sha-256"}


@pytest.fixture(scope="module")
def verifier(pg):
    with pg.session(dbname="postgres") as db:
        return db.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram'")


@pytest.fixture(scope="module")
def proxy(make_proxy, verifier):
    md5 = "md5" + hashlib.md5(b"sesame" + b"hashed").hexdigest()
    return make_proxy(
        users='"scram" "sesame"\n"app" "%s"\n"hashed" "%s"\n"empty" ""\n"postgres" "p""w"\n"späß" "grüße"\n' % (verifier, md5)
    )


def refused(proxy, user, password, sqlstate="28P01"):
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect(user=user, password=password).close()
    text = str(e.value)
    if sqlstate == "28P01":
        assert 'password authentication failed for user "%s"' % user in text, text
    return text


def test_right_passwords(proxy):
    with proxy.session(user="scram", password="sesame") as s:
        assert s.one("SELECT current_user") == "scram"
    # A verifier proves who a client is; the shard trusts app.
    with proxy.session(user="app", password="sesame") as s:
        assert s.one("SELECT current_user") == "app"
    with h.Session(proxy.connect("pgunison", user="postgres", password='p"w')) as c:
        assert c.rows("SHOW VERSION")


def test_wrong_ones(proxy):
    for user, password in (("scram", "Sesame"), ("app", "no"), ("nobody", "sesame"), ("hashed", "sesame"), ("empty", "x"), ("postgres", "pw")):
        refused(proxy, user, password)
    # libpq itself has no password to offer.
    with pytest.raises(psycopg2.OperationalError):
        proxy.connect(user="scram", passfile="/dev/null")


def test_the_log_says_why_and_never_a_password(proxy):
    refused(proxy, "hashed", "sesame")
    refused(proxy, "nobody", "swordfish")
    log = proxy.tail(1000)
    assert "MD5" in log and "no such user" in log
    assert "swordfish" not in log and "sesame" not in log


def test_an_unknown_user_and_a_wrong_password_look_the_same(proxy):
    """Message for message, but for nonces, salts and names."""

    def exchange(user):
        w = h.Wire(proxy.port)
        w.startup(user=user, database="shop")
        kinds = [w.receive()]
        w.send(h.message("p", b"SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc"))
        kinds.append(w.receive())
        nonce = kinds[-1][1][4:].split(b",")[0]
        w.send(h.message("p", b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="))
        kinds += w.until_closed()
        w.close()
        salt = kinds[1][1].split(b",")[1]
        fields = h.fields(kinds[2][1])
        return [(k, len(b)) for k, b in kinds[:2]], fields["C"], fields["S"], fields["M"].replace(user, "?"), salt

    known, unknown, again = exchange("scram"), exchange("nobo1"), exchange("nobo1")
    assert known[:4] == unknown[:4]
    assert unknown[4] == again[4] != known[4]


def cpu_seconds(proxy):
    total = 0
    for task in os.listdir("/proc/%d/task" % proxy.process.pid):
        with open("/proc/%d/task/%s/schedstat" % (proxy.process.pid, task), encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def cost_of_refusals(proxy, user, n):
    """CPU of all threads for each of n logins with a wrong password; the lesser of two rounds."""
    least = []
    for _ in range(2):
        began = cpu_seconds(proxy)
        for _ in range(n):
            refused(proxy, user, "wrong")
        least.append((cpu_seconds(proxy) - began) / n)
    return min(least)


@pytest.mark.parametrize("user", ["scram", "app", "hashed", "empty", "nobody"])
def test_who_is_not_let_in_pays_for_the_derivation_himself(proxy, user):
    """4,096 rounds of PBKDF2 are the client's to compute: whoever asks without a password must not buy them."""
    if proxy.has_sanitizer():
        pytest.skip("what hashes cost is not what they cost users")
    refused(proxy, user, "wrong")
    began = time.thread_time()
    for _ in range(20):
        hashlib.pbkdf2_hmac("sha256", b"wrong", b"0123456789abcdef", 4096)
    derivation = (time.thread_time() - began) / 20
    assert cost_of_refusals(proxy, user, 8) < derivation / 2


def test_non_ascii_names_and_passwords(proxy, pg):
    text = refused(proxy, "späß", "gruesse")
    assert "password" in text
    # The right password gets past us; the shard has no such role.
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect(user="späß", password="grüße")
    assert "password authentication failed" not in str(e.value)


def test_unknown_database(proxy):
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect(dbname="nosuch", user="scram", password="sesame")
    assert 'database "nosuch" does not exist' in str(e.value)


def test_no_user_name(proxy):
    with h.Wire(proxy.port) as w:
        w.startup(database="shop")
        (kind, body), *_ = w.until_closed()
        assert kind == "E" and h.fields(body)["S"] == "FATAL"


def test_a_query_before_the_password_is_a_protocol_violation(proxy):
    with h.Wire(proxy.port) as w:
        w.startup(user="scram", database="shop")
        w.receive()
        w.send(h.query("SELECT 1"))
        (kind, body), *_ = w.until_closed()
        assert kind == "E" and h.fields(body)["C"] == "08P01"


def test_trust_knows_its_users_and_any_takes_everybody(make_proxy):
    users = '"app" ""\n'
    trust = make_proxy(settings={"auth_type": "trust"}, users=users)
    with trust.session(user="app") as s:
        assert s.one("SELECT current_user") == "app"
    with pytest.raises(psycopg2.OperationalError) as e:
        trust.connect(user="postgres")
    assert "auth_file" in str(e.value)
    trust.stop()
    everybody = make_proxy(settings={"auth_type": "any"}, users=users)
    with everybody.session(user="postgres") as s:
        assert s.one("SELECT current_user") == "postgres"
    everybody.stop()


def test_md5_is_not_there_yet_and_says_so(make_proxy):
    proxy = make_proxy(settings={"auth_type": "md5"})
    with pytest.raises(psycopg2.OperationalError) as e:
        proxy.connect(user="scram", password="sesame")
    assert "not supported yet" in str(e.value)
    proxy.stop()


def test_a_shard_that_refuses_the_password_is_told_to_the_client(make_proxy):
    other = make_proxy(settings={"auth_type": "any"}, users='"scram" "not it"\n')
    with pytest.raises(psycopg2.OperationalError) as e:
        with other.session(user="scram") as s:
            s.one("SELECT 1")
    assert "password authentication failed" in str(e.value)
    other.stop()


def test_users_do_not_share_servers(make_proxy):
    everybody = make_proxy(settings={"auth_type": "any"})
    with everybody.session(user="app") as a, everybody.session(user="postgres") as b:
        for _ in range(5):
            assert a.one("SELECT current_user") == "app"
            assert b.one("SELECT current_user") == "postgres"
    everybody.stop()
