"""A reader of C that is good enough for this project's own files: it knows comments, literals, identifiers and braces.

It relies on the house style (clang-format): no macros that hide braces, no function defined by a macro.
"""
import re

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
# name, arguments (parentheses in them up to three deep), and the mark that top_level() leaves of a body
DEFINITION = re.compile(r"\b([A-Za-z_]\w*)\s*\((?:[^(){};]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)\s*\{\}")
USE = re.compile(r"(?<!->)(?<!\.)\b[A-Za-z_]\w*")
NAME = re.compile(r"[A-Za-z_]\w*")


def comments(text):
    """(line number, text) of each."""
    for m in TOKEN.finditer(text):
        if m.group().startswith("/"):
            yield text.count("\n", 0, m.start()) + 1, m.group()


def code(text):
    """The text without comments and what literals say; line ends stay."""

    def blank(m):
        return '""' if m.group().startswith('"') else re.sub(r"[^\n]", " ", m.group())

    return TOKEN.sub(blank, text)


def top_level(text):
    """Code outside of all braces; each pair of braces is "{}" here."""
    out, depth = [], 0
    for c in PREPROCESSOR.sub("", text):
        if c == "{":
            if depth == 0:
                out.append("{}")
            depth += 1
        elif c == "}":
            depth -= 1
        elif depth == 0:
            out.append(c)
    return "".join(out)


def functions(text):
    """The functions that this code defines: name -> whether it is static."""
    outer, found = top_level(text), {}
    for m in DEFINITION.finditer(outer):
        head = outer[max(outer.rfind("}", 0, m.start()), outer.rfind(";", 0, m.start())) + 1 : m.start()]
        found[m.group(1)] = "static" in head.split()
    return found


def uses(text):
    """Names that this code mentions, but for members of structs."""
    return set(USE.findall(text))


def lengths(text):
    """(name, line number, lines) of each function, from its head to its last brace, which stand at the margin."""
    lines, begun = text.split("\n"), None
    for i, line in enumerate(lines):
        if line == "{":
            begun = i
        elif line == "}" and begun is not None:
            head = begun - 1
            while head > 0 and lines[head][:1] in (" ", "\t"):
                head -= 1
            names = re.findall(r"(\w+)\(", lines[head])
            yield names[-1] if names else "?", head + 1, i - head + 1
            begun = None
