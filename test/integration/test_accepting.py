"""Workers accept clients themselves: what must hold of all of them together."""
import collections
import contextlib
import os
import signal
import socket
import threading
import time

import pgharness as h
from pgharness import eventually

TABLES = {}
SHARDS = 1
WORKERS = 4
PLACES = 40


def knock(proxy, n):
    """n clients at once: those who got in, and the SQLSTATEs of those who did not."""
    inside, answers, lock = [], collections.Counter(), threading.Lock()

    def one():
        w = h.Wire(proxy.port, timeout=60)
        w.startup(user="app", database=h.DATABASE)
        answer = w.until("ZE")[-1]
        with lock:
            if answer[0] == "Z":
                inside.append(w)
            else:
                answers[h.fields(answer[1])["C"]] += 1
                w.close()

    threads = [threading.Thread(target=one) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return inside, answers


def worker_of(wire):
    return wire.key[0] >> 20


def is_empty(console):
    return [row["database"] for row in console.dicts("SHOW CLIENTS")] == ["pgunison"]


def test_the_limit_holds_and_clients_are_spread(make_proxy):
    proxy = make_proxy(settings={"workers": WORKERS, "max_client_conn": PLACES})
    with proxy.console() as console:  # takes a place itself
        for _ in range(3):
            eventually(lambda: is_empty(console))  # every place is free again
            inside, answers = knock(proxy, 3 * PLACES)
            assert len(inside) == PLACES - 1
            assert answers == {"53300": 2 * PLACES + 1}
            spread = collections.Counter(worker_of(w) for w in inside)
            assert max(spread.values()) - min(spread[i] for i in range(WORKERS)) <= WORKERS, spread
            for w in inside:
                w.close()
    proxy.stop()


def descriptors(proxy):
    return len(os.listdir("/proc/%d/fd" % proxy.process.pid))


def test_reload_and_term_while_clients_come_and_go(make_proxy):
    proxy = make_proxy(settings={"workers": WORKERS, "max_client_conn": 8, "shutdown_wait_timeout": "10s"})
    done, wrong = threading.Event(), []

    def come_and_go():
        while not done.is_set():
            try:
                with proxy.wire() as w:
                    if w.ask(h.query("SELECT 1"))[-1] != ("Z", "I"):
                        wrong.append("no answer")
            except (h.Closed, OSError):
                pass  # refused, or told to go

    threads = [threading.Thread(target=come_and_go) for _ in range(12)]
    for t in threads:
        t.start()
    for i in range(20):
        proxy.settings["max_client_conn"] = 8 + i % 3
        proxy.configure()
        proxy.reload()
        time.sleep(0.05)  # no condition: the more happens meanwhile, the better
    process = proxy.process
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    done.set()
    for t in threads:
        t.join()
    proxy.workspace.running.remove(proxy)
    proxy.process = None
    proxy.check()
    assert not wrong


def test_no_descriptor_is_lost(make_proxy):
    proxy = make_proxy(settings={"workers": WORKERS, "max_client_conn": 4, "default_pool_size": WORKERS, "reserve_pool_size": 0})
    before = descriptors(proxy)
    for _ in range(5):
        for w in knock(proxy, 30)[0]:
            w.close()
        for s in [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(20)]:
            s.close()  # without a word
    # Of 250 connections nothing may stay but servers, and the lines that the proxy asks shards on.
    eventually(lambda: descriptors(proxy) <= before + WORKERS + SHARDS)
    proxy.stop()


def ticks(proxy):
    """Of the processor's time, 100 a second."""
    with open("/proc/%d/stat" % proxy.process.pid, encoding="ascii") as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])


def test_want_of_descriptors_is_waited_for_in_peace(make_proxy):
    proxy = make_proxy(settings={"workers": WORKERS})
    limit = descriptors(proxy) + 10
    proxy.limit_files(limit)
    waiting = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(40)]
    for s in waiting:
        s.sendall(b"\0")
    eventually(lambda: "could not accept" in proxy.tail(10))
    before = ticks(proxy)
    time.sleep(1)
    assert ticks(proxy) - before < 20
    assert proxy.tail(100).count("could not accept") == 1  # of all the workers
    for s in waiting:
        s.close()
    with proxy.wire() as w:
        assert w.ask(h.query("SELECT 1"))[-1] == ("Z", "I")
    proxy.stop()


def test_who_hangs_up_while_nobody_reads_from_him_costs_nothing(make_proxy):
    """The kernel reports it over and over, whatever it was asked for."""
    proxy = make_proxy(settings={"workers": 1})

    with proxy.wire() as w:
        # The answer cannot be sent, and what follows the query is not read.
        w.send(h.query("SELECT repeat('x', 1000000) FROM generate_series(1, 50)"), h.query("SELECT 2") * 100000)
        w._need(1000)
        w.socket.shutdown(socket.SHUT_WR)
        for _ in range(20):  # quiet for a second, sooner or later
            before = ticks(proxy)
            time.sleep(1)
            if ticks(proxy) - before < 20:
                break
        else:
            raise AssertionError("the proxy does not come to rest")
    proxy.stop()


def test_logins_that_waited_together_keep_no_server(make_proxy):
    """All get a server in the same moment, but only the first of them needs what it says."""
    together = 4
    proxy = make_proxy(settings={"workers": 1, "default_pool_size": together, "reserve_pool_size": 0})

    def pool():
        return next(row for row in console.dicts("SHOW POOLS") if row["user"] == "app")

    with contextlib.ExitStack() as stack:
        console = stack.enter_context(proxy.console())
        busy = [proxy.wire() for _ in range(together)]
        for w in busy:
            w.ask(h.query("BEGIN"))
            w.ask(h.query("SELECT pg_backend_pid()"))
        for w in busy:
            w.close()
        eventually(lambda: pool()["sv_idle"] == together)
        console.run("RELOAD")  # forgets what servers say of themselves
        console.run("PAUSE")
        logins = [stack.enter_context(h.Wire(proxy.port)) for _ in range(together)]
        for w in logins:
            w.startup(user="app", database=h.DATABASE)
        eventually(lambda: pool()["cl_waiting"] == together)
        console.run("RESUME")
        for w in logins:
            w.until_ready()
        eventually(lambda: pool()["sv_active"] == 0)
        assert pool()["sv_idle"] >= together - 1  # RELOAD puts a new one in the place of one
    proxy.stop()
