"""Clients that move money between accounts, remember what they were told of every transfer, and the books' audit."""
import contextlib
import random
import threading
import time

import psycopg2

from pgharness import eventually

TABLES = {"accounts": "hash(id)", "transfers": "hash(id)"}
ACCOUNTS, START = 60, 1000
# After these a session is of no use any more; during COMMIT, the outcome is not known.
LOST = ("08006", "08007", "57P01", "57P02", "57P03", None)


def make_schema(proxy):
    with proxy.session() as s:
        s.run("CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)")
        s.run("CREATE TABLE transfers (id bigint PRIMARY KEY, source int, target int, amount bigint)")
        s.run("INSERT INTO accounts VALUES " + ",".join("(%d, %d)" % (i, START) for i in range(ACCOUNTS)))


class Client(threading.Thread):
    """Moves money until it is told to stop."""

    numbers = iter(range(1, 1000000))

    def __init__(self, proxy, seed):
        super().__init__(daemon=True)
        self.proxy, self.number = proxy, next(Client.numbers)
        self.random = random.Random(seed)
        self.acknowledged, self.refused, self.unknown = set(), set(), set()
        self.sqlstates = set()
        self.stopping = threading.Event()
        self.problem = None

    def run(self):
        n, connection = 0, None
        try:
            while not self.stopping.is_set():
                n += 1
                try:
                    connection = connection or self.proxy.connect(connect_timeout=5)
                except psycopg2.OperationalError:
                    time.sleep(0.01)  # nobody is there
                    continue
                if not self.transfer(connection, self.number * 1000000 + n):
                    with contextlib.suppress(psycopg2.Error):
                        connection.close()
                    connection = None
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e
        finally:
            if connection:
                connection.close()

    def transfer(self, connection, number):
        """True: the connection may be used again."""
        source, target = sorted(self.random.sample(range(ACCOUNTS), 2))  # in one order: no deadlocks
        amount = self.random.randrange(1, 50) * self.random.choice((1, -1))
        committing = False
        try:
            with connection.cursor() as cur:
                cur.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, source))
                cur.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, target))
                cur.execute("INSERT INTO transfers VALUES (%s, %s, %s, %s)", (number, source, target, amount))
            committing = True
            connection.commit()
            self.acknowledged.add(number)
            return True
        except psycopg2.Error as e:
            self.sqlstates.add(e.pgcode)
            # A connection that the proxy closed tells nothing; 08006 with the connection still open does: it comes from
            # the proxy, which says that everything was rolled back.
            told = not connection.closed and e.pgcode is not None and e.pgcode != "08007"
            (self.unknown if committing and not told else self.refused).add(number)
            if connection.closed or e.pgcode in LOST:
                return False
            with contextlib.suppress(psycopg2.Error):
                connection.rollback()
                return True
            return False


class Load:
    """n clients of each proxy, for the length of `with`."""

    def __init__(self, *proxies, n=4, seed=1):
        self.clients = [Client(proxy, seed * 1000 + i) for proxy in proxies for i in range(n)]

    def __enter__(self):
        for c in self.clients:
            c.start()
        return self

    def __exit__(self, *_):
        for c in self.clients:
            c.stopping.set()
        for c in self.clients:
            c.join(60)
            assert not c.is_alive(), "a client hangs"
        assert [c.problem for c in self.clients if c.problem] == []

    def done(self, clients=None):
        return sum(len(c.acknowledged) for c in clients or self.clients)

    def goes_on(self, n=20, seconds=60):
        """n more transfers are acknowledged."""
        had = self.done()
        eventually(lambda: self.done() >= had + n, seconds, 0.005)

    def all(self, what):
        return set().union(*(getattr(c, what) for c in self.clients))

    def audit(self, databases):
        """databases: a session on each shard. No money was made or lost; what was acknowledged is there, what was refused
        is not, and of every transfer all parts are there or none."""
        accounts, transfers = {}, []
        for db in databases:
            accounts.update(db.rows("SELECT id, balance FROM accounts"))
            transfers += db.rows("SELECT id, source, target, amount FROM transfers")
        moved = dict.fromkeys(range(ACCOUNTS), 0)
        for _, source, target, amount in transfers:
            moved[source] -= amount
            moved[target] += amount
        assert sum(accounts.values()) == ACCOUNTS * START
        assert accounts == {a: START + m for a, m in moved.items()}
        there = [t[0] for t in transfers]
        assert len(there) == len(set(there))
        assert self.all("acknowledged") - set(there) == set()
        assert self.all("refused") & set(there) == set()
