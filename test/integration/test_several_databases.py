"""Several databases behind one proxy: what changes in one is nothing to another, unless they share a shard's database."""
import pytest

from pgharness import eventually

TABLES = {"items": "hash(id)"}
SETTINGS = {"workers": 1}
SHARDS = 2
KNOWN = ("items", "plain", "more")


def section(name, dbname, shards, prefix):
    lines = ["[database %s]" % name, "shards = " + " ".join(prefix + s.name for s in shards)]
    for s in shards:
        lines += ["[shard %s%s]" % (prefix, s.name), "host = localhost", "port = %s" % s.port, "dbname = " + dbname, "admin_user = postgres"]
    return "\n".join(lines + ["[tables %s]" % name, "items = hash(id)"]) + "\n"


@pytest.fixture(scope="module")
def proxy(make_proxy, shards, dbname):
    """shop, another one, and one that is shop by other names."""
    shards.make_database("another")
    return make_proxy(sections=section("another", "another", shards, "a_"))


@pytest.fixture(scope="module", autouse=True)
def schema(proxy):
    for name in ("shop", "another"):
        with proxy.session(name) as s:
            for table in KNOWN:
                s.run("CREATE TABLE %s (id int PRIMARY KEY, v int)" % table)


def known(proxy):
    with proxy.console() as console:
        return sum(int(row[2]) for row in console.rows("SHOW MEM") if row[0] == "catalogs")


def test_ddl_of_one_leaves_the_other_what_it_knows(proxy):
    with proxy.session("shop") as shop, proxy.session("another") as another:
        for table in KNOWN:
            assert shop.one("SELECT count(*) FROM " + table) == another.one("SELECT count(*) FROM " + table) == 0
        before = known(proxy)
        assert before >= 2 * len(KNOWN)
        shop.run("CREATE TABLE new (id int)")
        assert shop.one("SELECT count(*) FROM new") == another.one("SELECT count(*) FROM items") == 0
        assert known(proxy) == before - len(KNOWN) + 1
        another.run("ALTER TABLE items ADD w int")
        another.run("INSERT INTO items (id, w) VALUES (1, 2)")
        assert another.rows("SELECT * FROM items") == [(1, None, 2)]
        assert shop.rows("SELECT * FROM items") == []
        another.run("DELETE FROM items")
        another.run("ALTER TABLE items DROP w")
        shop.run("DROP TABLE new")


def test_prepared_statements_follow_their_own_database(proxy):
    with proxy.session("shop") as shop, proxy.session("another") as another:
        for s in (shop, another):
            s.run("INSERT INTO plain VALUES (1, 2)")
            assert s.rows("SELECT * FROM plain") == [(1, 2)]
        shop.run("ALTER TABLE plain ADD w int DEFAULT 3")
        assert shop.rows("SELECT * FROM plain") == [(1, 2, 3)]
        assert another.rows("SELECT * FROM plain") == [(1, 2)]
        shop.run("ALTER TABLE plain DROP w")
        for s in (shop, another):
            assert s.rows("SELECT * FROM plain") == [(1, 2)]
            s.run("DELETE FROM plain")


def test_two_names_of_one_database(make_proxy, shards, dbname, proxy):
    """What one does the other sees."""
    both = make_proxy(sections=section("twin", dbname, shards, "t_"))
    with both.session("shop") as shop, both.session("twin") as twin:
        for one, other in ((shop, twin), (twin, shop)):
            assert one.rows("SELECT * FROM more") == other.rows("SELECT * FROM more") == []
            one.run("ALTER TABLE more ADD w int DEFAULT 3")
            one.run("INSERT INTO more VALUES (1, 2)")
            assert one.rows("SELECT * FROM more") == other.rows("SELECT * FROM more") == [(1, 2, 3)]
            one.run("ALTER TABLE more DROP w")
            assert one.rows("SELECT * FROM more") == other.rows("SELECT * FROM more") == [(1, 2)]
            one.run("DELETE FROM more")


def test_a_database_that_a_reload_brings_and_takes_away(make_proxy, shards, dbname):
    """A transaction that began before goes on under the old configuration, and its DDL is seen under the new one."""
    proxy = make_proxy()
    with proxy.session("shop") as old:
        old.run("BEGIN")
        old.run("ALTER TABLE more ADD w int DEFAULT 3")
        proxy.sections = section("twin", dbname, shards, "t_")
        proxy.configure()
        with proxy.console() as console:
            console.run("RELOAD")
        eventually(lambda: reachable(proxy, "twin"))
        with proxy.session("twin") as twin:
            assert twin.rows("SELECT * FROM items") == []
            old.run("COMMIT")
            assert twin.rows("SELECT * FROM more") == []
            old.run("INSERT INTO more VALUES (1, 2)")
            assert twin.rows("SELECT * FROM more") == [(1, 2, 3)]
            twin.run("ALTER TABLE more DROP w")
            assert old.rows("SELECT * FROM more") == twin.rows("SELECT * FROM more") == [(1, 2)]
            twin.run("BEGIN")
            twin.run("DELETE FROM more")
            assert twin.rows("SELECT * FROM more") == []
            proxy.sections = ""
            proxy.configure()
            with proxy.console() as console:
                console.run("RELOAD")
            eventually(lambda: not reachable(proxy, "twin"))
            assert twin.rows("SELECT id FROM more") == []
            twin.run("SELECT set_config('work_mem', '5MB', true)")
            twin.run("COMMIT")
            assert old.rows("SELECT * FROM more") == []


def reachable(proxy, name):
    with proxy.console() as console:
        return name in [row["name"] for row in console.dicts("SHOW DATABASES")]
