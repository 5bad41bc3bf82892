"""Whether results got worse: two files of results, or two folders of them.

    python benchmarks/compare.py benchmarks/results /tmp/new
    python benchmarks/compare.py old/pipeline-cpu.jsonl new/pipeline-cpu.jsonl --tolerance 0.1

Cases that stand on both sides are compared by the values that have a direction
(``benchmarks.rows``): times, clips a second, bytes, ratios. What several files of a folder, or
several rows, say of the same case are repeated runs: the median counts, and their range is noise,
as is what a run itself says of its spread. A value got worse if it did by more than the noise of
both sides together, and by more than the tolerance.

Times of different devices say nothing about each other: then only those values are compared that
are ratios within a run, such as ours against a peer.

Exit status: 0, or 1 if anything got worse, or 2 if there is nothing to compare.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import aligned
from benchmarks.rows import LESS, MORE, Result, read_results
from tdn.errors import UserError

TOLERANCE = 0.05
RATIOS = frozenset({"ratio", "cpu_ratio", "efficiency", "percent_of_copy", "stall_percent"})
"""Values that are ratios within a run, whatever the device; percentages of an overhead as well."""


@dataclass(frozen=True)
class Value:
    """A number, and what it was in other runs or could have been."""

    middle: float
    low: float
    high: float

    @property
    def noise(self) -> float:
        """Half of the range, relative."""
        return (self.high - self.low) / 2 / abs(self.middle) if self.middle else 0.0


@dataclass(frozen=True)
class Change:
    """A value on both sides."""

    case: str
    name: str
    old: Value
    new: Value
    worse: float
    """By what part it got worse; negative if it got better."""
    bound: float
    """By what part it may, as noise and tolerance go."""

    @property
    def verdict(self) -> str:
        """worse, better, or nothing if that is within the noise."""
        if self.worse > self.bound:
            return "worse"
        return "better" if self.worse < -self.bound else ""


def compare(
    old: Iterable[Result], new: Iterable[Result], tolerance: float = TOLERANCE
) -> list[Change]:
    """All values that stand on both sides.

    Args:
        old: Results, repeated runs among them.
        new: The same.
        tolerance: The least part by which a value must change.
    """
    before, after = _grouped(old), _grouped(new)
    changes = []
    for key in before.keys() & after.keys():
        theirs, mine = before[key], after[key]
        same = {result.where.get("device") for result in (*theirs, *mine)}
        for name in sorted(_names(theirs) & _names(mine)):
            if len(same) > 1 and not _is_ratio(name):
                continue
            pair = _value(theirs, name), _value(mine, name)
            ratio = pair[1].middle / pair[0].middle if pair[0].middle else 1.0
            worse = (1 / ratio if ratio else float("inf")) - 1 if name in MORE else ratio - 1
            bound = max(tolerance, pair[0].noise + pair[1].noise)
            changes.append(Change(str(mine[0]), name, *pair, worse, bound))
    return sorted(changes, key=lambda change: -change.worse)


def _grouped(results: Iterable[Result]) -> Mapping[tuple[object, ...], list[Result]]:
    found: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        found.setdefault(result.key, []).append(result)
    return found


def _names(results: Sequence[Result]) -> set[str]:
    """Values with a direction that all of them have."""
    names = [
        {name for name, value in result.values.items() if _is_number(value)} for result in results
    ]
    return set.intersection(*names) & (LESS | MORE)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ratio(name: str) -> bool:
    return name in RATIOS or name.endswith("overhead_percent")


def _value(results: Sequence[Result], name: str) -> Value:
    """Of repeated runs."""

    def numbers(name: str) -> list[float]:
        return [_plain(name, result.values[name]) for result in results if name in result.values]

    middle = numbers(name)
    low, high = numbers(f"{name}_low"), numbers(f"{name}_high")
    if name.endswith("_percent"):
        said = f"{name.removesuffix('_percent')}_error"
        errors = [result.values.get(said, 0.0) for result in results]
        low += [value - error / 100 for value, error in zip(middle, errors, strict=True)]
        high += [value + error / 100 for value, error in zip(middle, errors, strict=True)]
    return Value(statistics.median(middle), min((*middle, *low)), max((*middle, *high)))


def _plain(name: str, value: float) -> float:
    """What an overhead or a stall of so many percent makes of a time, which is never near zero."""
    return 1 + value / 100 if "overhead_percent" in name or "stall_percent" in name else value


def report(changes: Sequence[Change]) -> str:
    """A table of what changed, and the number of what did not."""
    told = [change for change in changes if change.verdict]
    lines = [
        (
            change.verdict,
            f"{100 * change.worse:+.1f} %",
            f"{100 * change.bound:.1f} %",
            change.name,
            f"{change.old.middle:.5g}",
            f"{change.new.middle:.5g}",
            change.case,
        )
        for change in told
    ]
    head = ("", "worse by", "noise", "value", "old", "new", "case")
    table = map(str.rstrip, aligned([head, *lines], left=(0, 3, 6))) if lines else ()
    same = f"{len(changes) - len(told)} of {len(changes)} values are as they were"
    return "\n".join((*table, same))


def main(words: Sequence[str] | None = None) -> int:
    """Compare what the command line names; gives the exit status."""
    options = _options(words)
    try:
        old, new = (_read(path) for path in (options.old, options.new))
    except UserError as error:
        print(f"benchmarks/compare.py: {error}", file=sys.stderr)
        return 2
    changes = compare(old, new, options.tolerance)
    if not changes:
        print(
            f"benchmarks/compare.py: {options.old} and {options.new} have no case in common",
            file=sys.stderr,
        )
        return 2
    print(report(changes))
    return int(any(change.verdict == "worse" for change in changes))


def _read(path: Path) -> list[Result]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return [result for file in files for result in read_results(file)]


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a file of results, or a folder")
    parser.add_argument("new", type=Path, metavar="NEW", help="the same")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="PART", help="(0.05, that is 5 %%)"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
