"""What the build makes of the sources: programs that are hard to turn against themselves, and flags that stay the caller's."""
import os
import re
import subprocess

import pytest

import pgharness as h


def output(*command):
    return subprocess.run(command, cwd=h.ROOT, capture_output=True, check=True, text=True).stdout


def readelf(*options):
    return output("readelf", "-W", *options, h.PGUNISON)


@pytest.fixture(scope="module")
def release():
    """Builds for sanitizers and for coverage find errors, and are for nobody's use."""
    if re.search(r"lib[at]san|libubsan|__gcov_|__sanitizer", readelf("-d", "--syms")):
        pytest.skip("not a release build")


def test_addresses_are_drawn_anew_for_each_start(release):
    assert re.search(r"Type:\s+DYN", readelf("-h"))
    assert re.search(r"\(FLAGS_1\).*\bPIE\b", readelf("-d"))


def test_tables_of_the_linker_are_read_only(release):
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", readelf("-d"))
    assert re.search(r"^\s+GNU_RELRO\b", readelf("-l"), re.M)


def test_data_is_not_code(release):
    stack, = re.findall(r"^\s+GNU_STACK(?:\s+0x\w+){5}\s+(.*?)\s+0x\w+$", readelf("-l"), re.M)
    assert "E" not in stack
    flags = re.findall(r"^\s+LOAD(?:\s+0x\w+){5}\s+(.*?)\s+0x\w+$", readelf("-l"), re.M)
    assert flags and not [f for f in flags if "W" in f and "E" in f]


def test_stacks_and_copies_are_checked(release):
    imported = set(re.findall(r"\bUND (\w+)@", readelf("--dyn-syms")))
    assert "__stack_chk_fail" in imported
    assert [name for name in imported if name.startswith("__") and name.endswith("_chk")]


def commands(*settings):
    """That would build the proxy anew."""
    environment = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}  # settings of the make that runs the tests are not these
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "-B", "BUILD=build-none", "build-none/pgunison", *settings],
        cwd=h.ROOT, env=environment, capture_output=True, check=True, text=True,
    )
    lines = done.stdout.splitlines()
    return [x for x in lines if " -c src/" in x], [x for x in lines if " -o build-none/pgunison " in x]


@pytest.mark.parametrize("settings", [[], ["CFLAGS=-O0 -DX"], ["CFLAGS=-O0 -DX", "CPPFLAGS=-DY", "LDFLAGS=-Wl,-z,now", "LTO="]], ids=len)
def test_flags_of_the_caller_drop_none_of_our_own(settings):
    compiled, linked = commands(*settings)
    assert len(compiled) > 100 and len(linked) == 1
    for line in compiled:
        for flag in ("-std=c11", "-pthread", "-fno-strict-aliasing", "-Iinclude", "-D_GNU_SOURCE"):
            assert flag + " " in line, line
        if settings:
            assert line.index("-O0 -DX") > line.index("-O2"), line  # the last one counts
            assert "_FORTIFY_SOURCE=" not in line, line  # checks need an optimising compiler
    avx2, = [line for line in compiled if "lex_long_avx2.c" in line]
    assert "-mavx2" in avx2 or "x86_64" not in output("gcc", "-dumpmachine")
    assert "-pthread" in linked[0] and "-lpq" in linked[0]


def test_warnings_are_errors_where_it_is_asked_for():
    assert not [line for line in commands("WERROR=")[0] if "-Werror" in line]
    assert not [line for line in commands("WERROR=1")[0] if "-Werror" not in line]
    with open(os.path.join(h.ROOT, ".ci", "run"), encoding="ascii") as f:
        assert "WERROR=1" in f.read()


@pytest.mark.parametrize("sanitizer,calls", [("address", True), ("thread", True), (None, False)])
def test_system_calls_are_libcs_under_a_sanitizer(tmp_path, sanitizer, calls):
    """There its interceptors see what a call reads and writes."""
    source = tmp_path / "calls.c"
    source.write_text(
        '#include "src/net/syscalls.h"\n'
        "ssize_t r(int fd, void *b, size_t n) { return plain_recv(fd, b, n); }\n"
        "ssize_t s(int fd, const void *b, size_t n) { return plain_send(fd, b, n, 0); }\n"
        "int e(int fd, struct epoll_event *v) { return plain_epoll_wait(fd, v, 1, 0); }\n"
    )
    made = str(tmp_path / "calls.o")
    flags = ["-fsanitize=" + sanitizer] if sanitizer else []
    output("gcc", "-std=c11", "-D_GNU_SOURCE", "-I", h.ROOT, "-O1", *flags, "-c", str(source), "-o", made)
    called = set(re.findall(r" U (\w+)", output("nm", made)))
    assert ({"recv", "send", "epoll_wait"} <= called) == calls
