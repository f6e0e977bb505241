"""What a run of the benchmark leaves in bench/results: for each suite a table (.txt), its numbers of every round (.json) and
a picture (.png)."""
import json
import os
import platform
import re
import subprocess
import tempfile
import time

import measure
import servers
from servers import pgharness

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


# --- where -------------------------------------------------------------------------------------------------


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=servers.path()).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"


def fsync_ms():
    """How long the disk of the servers takes for one page: the median."""
    times = []
    with tempfile.TemporaryFile() as f:
        for _ in range(100):
            f.write(b"x" * 8192)
            f.flush()
            began = time.monotonic()
            os.fdatasync(f.fileno())
            times.append((time.monotonic() - began) * 1000)
    return sorted(times)[50]


def facts():
    """Lines on machine and programs."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / 1048576
    try:
        bouncer = "PgBouncer %d.%d" % servers.pgbouncer_version()
    except servers.Skipped:
        bouncer = "no PgBouncer"
    return [
        "machine   %s, %d processors, %.0f GB" % (model.group(1) if model else platform.machine(), os.cpu_count(), memory),
        "system    Linux %s, libc %s, %s" % (platform.release(), platform.libc_ver()[1], said("openssl", "version")),
        "programs  %s; %s; %s; gcc %s"
        % (said(pgharness.PGUNISON, "--version"), bouncer, said(pgharness.tool("postgres"), "--version"), said("gcc", "-dumpfullversion")),
        "disk      fdatasync of 8 kB takes %.2f ms" % fsync_ms(),
        "load      %.2f before the first run (clients, proxies and servers share the processors)" % os.getloadavg()[0],
        "date      " + time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    ]


# --- tables ------------------------------------------------------------------------------------------------


def number(value):
    if value is None:
        return "-"
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2f" % value


def ratio(value, base):
    return "%.2f" % (value / base) if value is not None and base else "-"


def cases(entries):
    """[(case, its entries)], in order."""
    found = {}
    for entry in entries:
        found.setdefault(entry.case, []).append(entry)
    return list(found.items())


def table(entries, base_name):
    head = "%-22s %10s %6s %17s   %8s %8s %8s   %8s %8s %8s %6s"
    for case, some in cases(entries):
        base = next((e for e in some if e.place.name == base_name), None)
        yield ""
        yield head % (case, "per s", "ratio", "least .. most", "p50 ms", "p95 ms", "p99 ms", "CPU us", "user", "system", "ratio")
        for e in some:
            low, high = e.spread("tps")
            yield head % (
                e.place.name,
                number(e.median("tps")),
                ratio(e.median("tps"), base and base.median("tps")),
                "%s .. %s" % (number(low), number(high)),
                *(number(e.median(p)) for p in ("p50", "p95", "p99", "cpu", "user", "system")),
                ratio(e.median("cpu"), base and base.median("cpu")),
            )


def raw(entries):
    return [
        {"case": e.case, "competitor": e.place.name, "rounds": [{f: getattr(r, f) for f in measure.FIGURES} for r in e.runs]}
        for e in entries
    ]


def text(name, suite, lines):
    """A suite's part of the report."""
    title = "%s (%s)" % (suite.TITLE, name)
    return "\n".join([title, "=" * len(title), suite.ABOUT.strip(), "", *lines, ""])


def save(name, content):
    os.makedirs(RESULTS, exist_ok=True)
    with open(os.path.join(RESULTS, name), "w", encoding="utf-8") as f:
        f.write(content if isinstance(content, str) else json.dumps(content, indent=1) + "\n")


# --- pictures ----------------------------------------------------------------------------------------------

COLOURS = {"direct": "#9aa0a6", "independent": "#9aa0a6", "PgBouncer": "#e8a33d", "prepare, commit": "#e8a33d"}
BLUES = ("#1f6fb4", "#5aa2d8", "#a5cdec")


def colour(place, names):
    """Shades of blue are pgunison's."""
    if place in COLOURS:
        return COLOURS[place]
    ours = [n for n in names if n.startswith("pgunison")]
    return BLUES[ours.index(place) % len(BLUES)]


def pyplot():
    """None, and no pictures, where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    return plt


def panels(entries):
    """Cases side by side in one panel share their first words: [(title, [(label, entries)])]."""
    found = {}
    for case, some in cases(entries):
        title, _, label = case.partition(", ")
        found.setdefault(title, []).append((label, some))
    if all(len(some) == 1 for some in found.values()):
        return [(case, [("", some)]) for case, some in cases(entries)]
    return list(found.items())


def bars(axes, clusters, names, draw):
    """A cluster a case, a bar a competitor."""
    width = 0.8 / len(names)
    for i, (_, some) in enumerate(clusters):
        for entry in some:
            k = names.index(entry.place.name)
            draw(axes, i - 0.4 + (k + 0.5) * width, width * 0.92, entry, colour(entry.place.name, names))
    axes.set_xticks(range(len(clusters)), [label for label, _ in clusters])
    axes.set_xlim(-0.6, len(clusters) - 0.4)
    axes.set_ylim(bottom=0)


def draw_tps(axes, x, width, entry, shade):
    tps = entry.median("tps")
    low, high = entry.spread("tps")
    axes.bar(x, tps, width, color=shade, yerr=[[tps - low], [high - tps]], error_kw={"elinewidth": 0.7, "ecolor": "#444444"})


def draw_cpu(axes, x, width, entry, shade):
    if entry.median("cpu") is None:
        return
    user, system = entry.median("user"), entry.median("system")
    axes.bar(x, user, width, color=shade)
    axes.bar(x, system, width, bottom=user, color=shade, alpha=0.45)
    shown = "%.0f" % (user + system) if user + system >= 10 else number(user + system)
    axes.annotate(shown, (x, user + system), ha="center", va="bottom", fontsize=6)


def plot(name, suite, entries):
    plt = pyplot()
    if not plt:
        return
    names = list(dict.fromkeys(e.place.name for e in entries))
    columns = panels(entries)
    figure, grid = plt.subplots(
        2, len(columns), figsize=(max(6.5, 2.2 + 2.6 * len(columns)), 5.6), squeeze=False, constrained_layout=True
    )
    for i, (title, clusters) in enumerate(columns):
        bars(grid[0][i], clusters, names, draw_tps)
        bars(grid[1][i], clusters, names, draw_cpu)
        grid[0][i].set_title(title)
    grid[0][0].set_ylabel("transactions per second")
    grid[1][0].set_ylabel("CPU of the proxy, µs per transaction\n(dark: user, light: system)")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour(n, names)) for n in names]
    figure.suptitle(suite.TITLE + "\n\n")  # the legend goes below it
    figure.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, 0.97), ncol=len(names), frameon=False)
    figure.savefig(os.path.join(RESULTS, name + ".png"), dpi=120)
    plt.close(figure)


def plot_found(name, suite, found):
    """Of a suite that draws by itself."""
    plt = pyplot()
    if not plt:
        return
    figure, axes = plt.subplots(figsize=(6.5, 3.6), constrained_layout=True)
    suite.draw(axes, found)
    axes.set_title(suite.TITLE)
    figure.savefig(os.path.join(RESULTS, name + ".png"), dpi=120)
    plt.close(figure)
