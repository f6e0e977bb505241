"""A man in the middle: sits between a proxy and a shard, knows where messages begin and end, and does what rules say when
a query that they name is about to reach the shard, or was answered and the answer is about to reach the proxy. What was
bound up to a Sync is one query to it: the statements' texts, joined by "; ".

One Rule may stand on several shards; it acts where its query comes by first. Connections of the proxy's own (control
connections, pools) all pass here, so a shard that is down() is down for all of them.
"""
import collections
import contextlib
import re
import socket
import struct
import threading

SENT, ANSWERED = "sent", "answered"
CUT, HOLD, DOWN, SILENT, FAIL, SPOIL, NOTE = "cut", "hold", "down", "silent", "fail", "spoil", "note"
CANCELED = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0"
CANCELED = b"E" + struct.pack("!I", len(CANCELED) + 4) + CANCELED
SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102


class Rule:
    """CUT closes the connection, HOLD keeps it waiting for release(), DOWN cuts all of that shard's connections and refuses
    new ones until up(), SILENT passes nothing more, without closing anything, until up(). FAIL, when ANSWERED, waits for release(), and says that it was
    cancelled, whatever the shard said. SPOIL, when SENT, makes it a BEGIN that the shard cannot read. NOTE does nothing: what came by is in
    `seen`."""

    def __init__(self, pattern, when, action, times=1, but=None):
        self.pattern, self.but = re.compile(pattern, re.S), but and re.compile(but, re.S)
        self.when, self.action, self.left = when, action, times
        self.lock, self.fired, self.released = threading.Lock(), threading.Event(), threading.Event()
        self.where = []  # the men in the middle at whose shards it acted
        self.seen = []  # the queries

    def names(self, sql):
        return self.left > 0 and self.pattern.search(sql) and not (self.but and self.but.search(sql))

    def take(self, mitm, sql):
        with self.lock:
            if self.left == 0:
                return False
            self.left -= 1
            self.where.append(mitm)
            self.seen.append(sql)
            return True

    def wait(self, seconds=10):
        assert self.fired.wait(seconds), "no message %s was %s" % (self.pattern.pattern, self.when)
        return self.where[0]

    def release(self):
        self.released.set()


class Mitm:
    """Has the name of its shard, and a port of its own: to a proxy it is the shard."""

    def __init__(self, shard):
        self.name, self.shard = shard.name, shard
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.rules, self.connections, self.lock = [], set(), threading.Lock()
        self.refusing = False
        self.flowing = threading.Event()
        self.flowing.set()
        self.cancels, self.cancels_waiting = threading.Event(), 0  # cancel requests pass while it is set
        self.cancels.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # closed
            if self.refusing:
                client.close()
            else:
                threading.Thread(target=self._begin, args=(client,), daemon=True).start()

    def _begin(self, client):
        try:
            connection = self.connect(client)
        except OSError:
            client.close()
            return
        with self.lock:
            self.connections.add(connection)
        if self.refusing:  # since it was accepted
            connection.close()
        connection.run()

    def connect(self, client):
        return Connection(self, client)

    def down(self):
        """At once, as seen from the proxy: what it sends when it misses the first connection passes on no other."""
        self.refusing = True
        self.flowing.clear()
        self.cut()
        self.flowing.set()

    def silent(self):
        self.flowing.clear()

    def up(self):
        self.refusing = False
        self.flowing.set()

    def cut(self):
        with self.lock:
            found = list(self.connections)
        for connection in found:
            connection.close()

    def close(self):
        self.listener.close()
        self.up()
        self.cut()

    def rule_for(self, sql, when):
        return next((r for r in self.rules if r.when == when and r.names(sql)), None)


class Connection:
    def __init__(self, mitm, client):
        self.mitm, self.client = mitm, client
        self.server = socket.create_connection(("127.0.0.1", mitm.shard.port), 10)
        self.server.settimeout(None)
        for s in (client, self.server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = collections.deque([""])  # whose ReadyForQuery is to come; the first is the login's

    def close(self):
        for s in (self.client, self.server):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        with self.mitm.lock:
            self.mitm.connections.discard(self)

    def run(self):
        back = threading.Thread(target=self._guard, args=(self._from_shard,), daemon=True)
        if self._guard(self._startup):
            back.start()
            self._guard(self._to_shard)
            back.join()
        self.client.close()
        self.server.close()

    def _guard(self, pump):
        """False: somebody hung up, and so do we."""
        try:
            pump()
            return True
        except (OSError, EOFError):
            self.close()
            return False

    @staticmethod
    def _read(s, n):
        data = b""
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _startup(self):
        while True:
            head = self._read(self.client, 8)
            length, code = struct.unpack("!II", head)
            self.mitm.flowing.wait()
            if code == CANCEL_REQUEST:
                self.mitm.cancels_waiting += 1
                self.mitm.cancels.wait()
            self.server.sendall(head + self._read(self.client, length - 8))
            if code != SSL_REQUEST:
                break
            self.client.sendall(self._read(self.server, 1))
        if code == CANCEL_REQUEST:
            self._read(self.server, 1)  # the shard hangs up when it has signalled the backend

    def _message(self, s):
        head = self._read(s, 5)
        return chr(head[0]), head, self._read(s, struct.unpack_from("!I", head, 1)[0] - 4)

    def _obey(self, rule, sql):
        """What the rule does before its message goes on."""
        if not rule or not rule.take(self.mitm, sql):
            return
        if rule.action == DOWN:
            self.mitm.down()
        elif rule.action == SILENT:
            self.mitm.silent()
        rule.fired.set()
        if rule.action in (HOLD, FAIL):
            rule.released.wait()
        elif rule.action in (CUT, DOWN):
            raise EOFError

    def _spoiled(self, kind, body):
        """Of a Query, or of a Parse by itself."""
        text = body.split(b"\0")[kind == "P"].decode(errors="replace") if kind in "PQ" else ""
        rule = self.mitm.rule_for(text, SENT)
        if not rule or rule.action != SPOIL:
            return body
        self._obey(rule, text)
        return body.replace(b"BEGIN", b"BROKE")

    def _to_shard(self):
        held, prepared, bound = b"", {}, []
        while True:
            kind, head, body = self._message(self.client)
            body = self._spoiled(kind, body)
            held += head + body
            if kind == "P":
                name, text = body.split(b"\0", 2)[:2]
                prepared[name] = text.decode(errors="replace")
            elif kind == "B":
                bound.append(prepared.get(body.split(b"\0", 2)[1], ""))
            if kind in "PBEDC" and not (kind == "E" and bound and bound[-1].startswith("COPY")):
                continue  # extended messages reach the shard together with the Query, Sync or Flush behind them, or the COPY
            if kind in "QS":
                sql = body[:-1].decode(errors="replace") if kind == "Q" else "; ".join(bound)
                bound = []
                self._obey(self.mitm.rule_for(sql, SENT), sql)
                self.due.append(sql)
            self.mitm.flowing.wait()
            self.server.sendall(held)
            held = b""

    def _from_shard(self):
        held = b""
        while True:
            kind, head, body = self._message(self.server)
            rule = self.mitm.rule_for(self.due[0], ANSWERED) if self.due else None
            held += head + body
            if rule and kind != "Z":
                continue  # the answer is complete first
            self._obey(rule, self.due[0] if self.due else "")
            if rule and rule.action == FAIL:
                held = CANCELED + head + body
            if kind == "Z":
                self.due.popleft()
            self.mitm.flowing.wait()
            self.client.sendall(held)
            held = b""
