"""Charts and tables, made of the results: nobody types a number.

    python -m benchmarks.charts            benchmarks/results/*.svg, and what pages tell of results
    python -m benchmarks.charts --check    whether all of that is current

Every chart carries the checksums of the results that it shows, of the code that draws, and of the
drawing itself. On the pages (``PAGES``) a table stands between
``<!-- NAME: made by benchmarks.charts -->`` and ``<!-- end of NAME -->``, and below it the charts
of the same rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.common import RESULTS
from benchmarks.harness.rows import Result, read_all
from benchmarks.pages import plots
from benchmarks.pages.plots import PLOTS, draw
from benchmarks.pages.remedies import remedies
from benchmarks.pages.tables import TABLES

ROOT = Path(__file__).parents[1]
PARTS = {**TABLES, "remedies": remedies}
"""What stands on pages."""
PAGES = {
    ROOT / "README.md": ("unmeasured", "targets", "training", "pipeline"),
    ROOT / "docs" / "benchmarks.md": tuple(TABLES),
    ROOT / "docs" / "performance.md": ("remedies",),
}
"""The tables of each page."""
CHARTS = {
    "training": ("training",),
    "gaps": ("roofline",),
    "from_files": ("from-files",),
    "pipeline": ("pipeline",),
    "growth": ("growth", "memory", "workers"),
    "projected": ("scaling",),
    "manifest": ("manifest",),
}
"""What is drawn below a table."""
SUMS = re.compile(r"sha256 of results ([0-9a-f]{64}), code ([0-9a-f]{64}), drawing ([0-9a-f]{64})")
NO_SUM = 64 * "0"


def checksum(results: Iterable[Result]) -> str:
    """Of what a chart shows."""
    digest = hashlib.sha256()
    for result in results:
        digest.update(json.dumps(asdict(result), sort_keys=True).encode())
    return digest.hexdigest()


def note(shown: Sequence[Result]) -> str:
    """What a chart carries, but for the checksum of the drawing."""
    code = hashlib.sha256(Path(plots.__file__).read_bytes()).hexdigest()
    return f"sha256 of results {checksum(shown)}, code {code}, drawing "


def drawing_sum(text: str, own: str) -> str:
    """The checksum of a drawing, from its file with or without it."""
    return hashlib.sha256(text.replace(own, NO_SUM).encode()).hexdigest()


def chart_problems(results: Sequence[Result], folder: Path) -> list[str]:
    """Charts that do not show these results, or not as they would be drawn now."""
    problems = []
    for name, plot in PLOTS.items():
        file = folder / f"{name}.svg"
        text = file.read_text() if file.exists() else ""
        if problem := _problem(text, plot.select(results)):
            problems.append(f"{file}: {problem}")
    return problems


def _problem(text: str, shown: Sequence[Result]) -> str:
    """What is wrong with a chart, "" if nothing; no text is no chart."""
    if not shown and not text:
        return ""
    found = SUMS.search(text)
    if not shown or found is None or found[1] != checksum(shown):
        return "does not show the results"
    if not found[0].startswith(note(shown)):
        return "is not as benchmarks/pages/plots.py draws"
    return "" if drawing_sum(text, found[3]) == found[3] else "was changed"


def write_charts(results: Sequence[Result], folder: Path) -> None:
    """Draw all charts for which there are results; of others there is none."""
    for name, plot in PLOTS.items():
        file = folder / f"{name}.svg"
        file.unlink(missing_ok=True)
        if shown := plot.select(results):
            draw(plot, shown, file, note(shown) + NO_SUM)
            text = file.read_text()
            file.write_text(text.replace(NO_SUM, drawing_sum(text, NO_SUM)))


def with_tables(
    text: str, parts: Mapping[str, Callable[[Sequence[Result]], str]], results: Sequence[Result]
) -> str:
    """A text with some of its parts made anew.

    Raises:
        ValueError: One has no place in it.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: made by benchmarks.charts -->", f"<!-- end of {name} -->"
        head, mark, rest = text.partition(begin)
        _, stop, tail = rest.partition(end)
        if not mark or not stop:
            raise ValueError(f"there is no place {begin} ... {end}")
        text = f"{head}{begin}\n{part(results)}\n{end}{tail}"
    return text


def undrawn(charts: Iterable[str], results: Sequence[Result]) -> list[str]:
    """A sentence about machines that are in a table, but not in the charts below it, if any are."""
    devices: dict[str, None] = {}
    for plot in map(PLOTS.__getitem__, charts):
        drawn = {result.machine for result in plot.select(results)}
        for result in results:
            measured = result.benchmark == plot.benchmark and plot.value in result.values
            if drawn and measured and result.machine not in drawn:
                devices[result.where["device"]] = None
    return [f"In the table alone, not drawn: {', '.join(devices)}."] if devices else []


def parts_of(page: Path, names: Iterable[str]) -> dict[str, Callable[[Sequence[Result]], str]]:
    """What makes the parts of a page: each a table, and the charts below it."""

    def part(name: str, results: Sequence[Result]) -> str:
        images = [
            f"![{PLOTS[chart].title}]({os.path.relpath(RESULTS, page.parent)}/{chart}.svg)"
            for chart in CHARTS.get(name, ())
            if PLOTS[chart].select(results)
        ]
        return "\n\n".join((PARTS[name](results), *images, *undrawn(CHARTS.get(name, ()), results)))

    return {name: partial(part, name) for name in names}


def main(words: Sequence[str] | None = None) -> int:
    """Make them, or look whether they are current; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if out of date")
    options = parser.parse_args(words)
    results = read_all(RESULTS)
    made = {
        page: with_tables(page.read_text(), parts_of(page, names), results)
        for page, names in PAGES.items()
    }
    if not options.check:
        write_charts(results, RESULTS)
        for page, text in made.items():
            page.write_text(text)
        return 0
    problems = chart_problems(results, RESULTS)
    problems += [
        f"{page}: its tables are not those of the results"
        for page, text in made.items()
        if page.read_text() != text
    ]
    for problem in problems:
        print(f"{problem}; run python -m benchmarks.charts", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
