"""A shard that lies: the real one, but for one message that it says more, at the moment that a Lie names. What follows is what the
real one says. Also the messages themselves: one of every type, and such as no type allows."""
import contextlib
import re
import struct
import threading

from mitm import Connection, Mitm
from pgharness import message


class Lie:
    """Once, on one of the shards that have it, in front of the first message of type `before` in the answer to a query that the pattern names. The query of a login is
    empty."""

    def __init__(self, pattern, before, data):
        self.pattern, self.before, self.data = re.compile(pattern, re.S), before, data
        self.lock, self.told, self.shard, self.connection = threading.Lock(), threading.Event(), None, None

    def take(self, connection, sql, kind):
        if kind != self.before or not self.pattern.search(sql):
            return False
        with self.lock:
            first = not self.told.is_set()
            if first:
                self.connection, self.shard = connection, connection.mitm.name
            self.told.set()
            return first


class Watched:
    """A socket, and what has been read from it."""

    def __init__(self, socket):
        self.socket, self.seen = socket, b""

    def recv(self, n):
        data = self.socket.recv(n)
        self.seen += data
        return data

    def __getattr__(self, name):
        return getattr(self.socket, name)

    def name(self):
        """application_name of the start-up packet."""
        found = re.search(rb"\0application_name\0([^\0]*)\0", self.seen)
        return found.group(1) if found else b""


class LyingConnection(Connection):
    name, ready = b"", False

    def _startup(self):
        client, self.client = self.client, Watched(self.client)
        try:
            super()._startup()
        finally:
            self.name, self.client = self.client.name(), client

    def _from_shard(self):
        while True:
            kind, head, body = self._message(self.server)
            lie, sql = self.mitm.lie, self.due[0] if self.due else None
            if lie and sql is not None and lie.take(self, sql, kind):
                head = lie.data + head
            if kind == "Z" and self.due:
                self.due.popleft()
            self.client.sendall(head + body)
            self.ready |= kind == "Z"


class Liar(Mitm):
    lie = None

    def connect(self, client):
        return LyingConnection(self, client)

    def pooled(self):
        """Whether a connection of a pool is open: those of the proxy's own stay."""
        with self.lock:
            return [c for c in self.connections if c.name != b"pgunison control"]

    def say(self, data):
        """To everybody who is logged in and waits for nothing."""
        with self.lock:
            found = [c for c in self.connections if c.ready and not c.due]
        for connection in found:
            with contextlib.suppress(OSError):
                connection.client.sendall(data)



ERROR = b"SERROR\0VERROR\0C22012\0Ma lie\0\0"
COLUMN = b"c\0" + struct.pack("!IhIhih", 0, 0, 23, 4, -1, 0)

TYPES = {
    "R": struct.pack("!I", 0),
    "S": b"application_name\0lie\0",
    "K": b"\0" * 8,
    "Z": b"I",
    "T": b"\0\1" + COLUMN,
    "D": b"\0\1\0\0\0\1" + b"7",
    "C": b"SELECT 1\0",
    "E": ERROR,
    "N": b"SNOTICE\0VNOTICE\0C00000\0Ma lie\0\0",
    "1": b"",
    "2": b"",
    "3": b"",
    "n": b"",
    "s": b"",
    "t": b"\0\0",
    "I": b"",
    "A": b"\0\0\0\1lie\0\0",
    "G": b"\0\0\0",
    "H": b"\0\0\0",
    "W": b"\0\0\0",
    "d": b"7\t7\n",
    "c": b"",
    "V": b"\xff\xff\xff\xff",
    "v": b"\0\3\0\0\0\0\0\0",
    "0": b"",
    "z": b"lie",
    "\0": b"",
    "\xff": b"\0",
}


def of_type(kind, body):
    return bytes([ord(kind)]) + struct.pack("!I", len(body) + 4) + body


def well_formed():
    return {"type %r" % kind: (kind, of_type(kind, body)) for kind, body in TYPES.items()}


def header(kind, length):
    return kind.encode() + struct.pack("!I", length)


# Must end the session in whatever state, with nothing said of its content.
MALFORMED = {
    "no length": header("D", 0) + b"\0" * 8,
    "a length of three": header("C", 3) + b"\0" * 8,
    "a negative length": header("D", 0xFFFFFFFF) + b"\0" * 8,
    "a huge length": header("D", 0x7FFFFFFF) + b"\0" * 8,
    "a huge status": header("Z", 0x10000000) + b"I" * 8,
    "a huge variable": header("S", 0x10000000) + b"I" * 8,
    "a huge notification": header("A", 0x10000000) + b"I" * 8,
    "a huge tag": message("C", b"x" * 70000 + b"\0"),
    "a status of nothing": message("Z", b""),
    "a status of two": message("Z", b"II"),
    "a status of X": message("Z", b"X"),
    "a status of zero": message("Z", b"\0"),
    "an error of nothing": message("E", b""),
    "an error without an end": message("E", ERROR[:-1]),
    "an error cut in a field": message("E", ERROR[:-5]),
    "an error and more": message("E", ERROR + b"x"),
    "a variable of nothing": message("S", b""),
    "a variable without value": message("S", b"TimeZone\0"),
    "a variable cut": message("S", b"TimeZone\0UTC"),
    "a notification cut": message("A", b"\0\0\0\1lie\0"),
    "a notification of two bytes": message("A", b"\0\0"),
    "parse complete with a body": message("1", b"x"),
    "bind complete with a body": message("2", b"x"),
    "no data with a body": message("n", b"x"),
    "copy done with a body": message("c", b"x"),
    "copy in with formats that lack": message("G", b"\0\0\5\0"),
    "copy out of one byte": message("H", b"\0"),
}
