"""Draws what scripts/bench.sh measured.

    python3 benches/plot.py FOLDER_OF_JSON FOLDER_OF_IMAGES

It needs matplotlib, and writes throughput.svg and growth.svg.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# The same figures give the same file.
matplotlib.rcParams["svg.hashsalt"] = "syncnet"
from matplotlib import pyplot  # noqa: E402


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    print(path)


def from_zero(axes):
    axes.set_ylim(0, 1.08 * axes.dataLim.y1)


def throughput(rows, path):
    """Acknowledged messages a second against writers, one line for each system."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.8))
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        axes.plot([row["writers"] for row in own], [row["acked_per_s"] for row in own], marker="o", label=system)
    axes.set(xscale="log", xlabel="writers", ylabel="acknowledged messages a second")
    writers = sorted({row["writers"] for row in rows})
    axes.set_xticks(writers, [str(number) for number in writers])
    axes.minorticks_off()
    from_zero(axes)
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def growth(rows, path):
    """What a write, a page and a search cost against the messages stored."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.6, 3.8))
    stored = [row["stored"] for row in rows]
    left.plot(stored, [row["acked_per_s"] for row in rows], marker="o")
    left.set(xlabel="messages stored", ylabel="acknowledged messages a second")
    for column, label in [("p99_ms", "write"), ("page_p99_ms", "page of history"), ("search_p99_ms", "search")]:
        right.plot(stored, [row[column] for row in rows], marker="o", label=label)
    right.set(xlabel="messages stored", ylabel="milliseconds, 99th percentile")
    right.legend()
    for axes in (left, right):
        from_zero(axes)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f} k")
    save(figure, path)


def main():
    results, images = Path(sys.argv[1]), Path(sys.argv[2])
    throughput(json.loads((results / "writers.json").read_text())["rows"], images / "throughput.svg")
    growth(json.loads((results / "growth.json").read_text())["rows"], images / "growth.svg")


main()
