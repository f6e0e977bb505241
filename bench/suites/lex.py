"""Reading statements, without a proxy around it."""
import os
import subprocess

from servers import pgharness

TITLE = "Reading statements"
ABOUT = """bench/micro/lex_bench.c: from a statement's text to its template and hash ("lex"), and to the plan in the cache ("lex, get")."""


def measure_suite(world):
    """Returns lines."""
    del world
    program = os.path.join(pgharness.BUILD, "bench", "lex_bench")
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def lines(found):
    return found
