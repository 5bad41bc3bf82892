"""Charts and README's tables, made of the results: nobody types a number.

    python -m benchmarks.charts            writes benchmarks/results/*.svg and README.md's tables
    python -m benchmarks.charts --check    whether all of that is current

Every chart carries the checksum of the results that it shows. Tables stand in README.md between
``<!-- NAME: made by benchmarks.charts -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plots import PLOTS, draw
from benchmarks.rows import Result, read_results
from benchmarks.tables import TABLES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
SUM = re.compile(r"results sha256:([0-9a-f]{64})")


def read_all(folder: Path) -> list[Result]:
    """The results of all files."""
    return [result for file in sorted(folder.glob("*.jsonl")) for result in read_results(file)]


def checksum(results: Iterable[Result]) -> str:
    """Of what a chart shows."""
    digest = hashlib.sha256()
    for result in results:
        digest.update(json.dumps(asdict(result), sort_keys=True).encode())
    return digest.hexdigest()


def chart_problems(results: Sequence[Result], folder: Path) -> list[str]:
    """Charts that do not show these results."""
    problems = []
    for name, plot in PLOTS.items():
        shown = plot.select(results)
        file = folder / f"{name}.svg"
        found = SUM.search(file.read_text()) if file.exists() else None
        if bool(shown) != bool(found) or (found and found[1] != checksum(shown)):
            problems.append(f"{file}: does not show the results")
    return problems


def write_charts(results: Sequence[Result], folder: Path) -> None:
    """Draw all charts for which there are results."""
    for name, plot in PLOTS.items():
        if shown := plot.select(results):
            draw(plot, shown, folder / f"{name}.svg", f"results sha256:{checksum(shown)}")


def with_tables(
    text: str,
    results: Sequence[Result],
    tables: Mapping[str, Callable[[Sequence[Result]], str]] = TABLES,
) -> str:
    """A text with its tables made anew.

    Raises:
        ValueError: A table has no place in it.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {name}: made by benchmarks.charts -->", f"<!-- end of {name} -->"
        head, mark, rest = text.partition(begin)
        _, stop, tail = rest.partition(end)
        if not mark or not stop:
            raise ValueError(f"there is no place {begin} ... {end}")
        text = f"{head}{begin}\n{table(results)}\n{end}{tail}"
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Make them, or look whether they are current; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if out of date")
    options = parser.parse_args(words)
    results = read_all(RESULTS)
    text = README.read_text()
    made = with_tables(text, results)
    if not options.check:
        write_charts(results, RESULTS)
        README.write_text(made)
        return 0
    problems = chart_problems(results, RESULTS)
    if made != text:
        problems.append(f"{README}: its tables are not those of the results")
    for problem in problems:
        print(f"{problem}; run python -m benchmarks.charts", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
