"""Whether results got worse: two files of results, or two folders of them.

    python benchmarks/compare.py benchmarks/results /tmp/new
    python benchmarks/compare.py old/pipeline-cpu.jsonl new/pipeline-cpu.jsonl --tolerance 0.1

Cases that stand on both sides are compared by the values that have a direction
(``harness.rows``): times, clips a second, bytes, ratios. What several files of a folder, or
several rows, say of the same case are repeated runs: the median counts. How far it may be off is
told by its standard error, from the repeated runs and from the spread and the number of turns in
each. A value got worse if it did by more than three standard errors of both sides together, and by
more than the tolerance. With errors so large that a loss would not show, it is too noisy; it, and
what was measured while others used the machine (``doubtful``), cannot be compared.

A case of ours that had values, and is gone or now wrong or an error, got worse, too. One whose
benchmark was not run, for which the time was too short, or that lost a value, cannot be compared.
All that is missing is listed.

Times of different devices say nothing about each other, nor do those of other numbers of cores or
threads or of another torch: then only those values are compared that are ratios within a run, such
as ours against a peer.

Exit status: 0; or 1 if anything got worse; else 2 if there is nothing to compare, or 3 if some
values cannot be compared.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.common import aligned
from benchmarks.harness.rows import LESS, MORE, REASONS, Result, read_all, read_results
from benchmarks.harness.timing import MEDIAN
from tdn.errors import UserError

TOLERANCE = 0.05
RATIOS = frozenset({"ratio", "cpu_ratio", "efficiency", "percent_of_copy", "stall_percent"})
"""Values that are ratios within a run, whatever the device; percentages of an overhead as well."""


DOUBT = 3.0
"""Standard errors that a value may be off."""
MOST_NOISE = 0.3
"""With more, a loss that matters would not show."""
FEW = 5
"""Turns of a run that does not say how many it had."""
QUANTILES = 1.683
"""Standard deviations between the 20 % and the 80 % quantile."""
NOT_RUN, LOST = "benchmark was not run", "no longer has "
LACKING = "absent", "left out: PyAV has no encoder", "left out: the system does not forget"
UNKNOWN = "left out", NOT_RUN, LOST
"""How reasons begin why values are missing: others are losses."""


@dataclass(frozen=True)
class Value:
    """A number, and how far it may be off."""

    middle: float
    error: float
    """Standard error."""

    @property
    def relative_error(self) -> float:
        """As a part of it."""
        return self.error / abs(self.middle) if self.middle else 0.0


@dataclass(frozen=True)
class Change:
    """A value on both sides."""

    case: str
    name: str
    old: Value
    new: Value
    worse: float
    """By what part it got worse; negative if it got better."""
    tolerance: float

    @property
    def noise(self) -> float:
        """By what part it may have changed for no reason."""
        return DOUBT * math.hypot(self.old.relative_error, self.new.relative_error)

    @property
    def bound(self) -> float:
        """By what part it may, as noise and tolerance go."""
        return max(self.tolerance, self.noise)

    @property
    def verdict(self) -> str:
        """worse, better, too noisy, or nothing if it is as it was."""
        if self.worse > self.bound:
            return "worse"
        if self.worse < -self.bound:
            return "better"
        return "too noisy" if self.noise > MOST_NOISE else ""


@dataclass(frozen=True)
class Missing:
    """A case that had values and has none now, or fewer."""

    case: str
    why: str
    ours: bool

    @property
    def verdict(self) -> str:
        """worse, unknown or missing.

        What is ours is worse if it fails, and unknown if it was not measured, unless this machine
        lacks what it needs.
        """
        if not self.ours or self.why.startswith(LACKING):
            return "missing"
        return "unknown" if self.why.startswith(UNKNOWN) else "worse"


def compare(
    old: Iterable[Result], new: Iterable[Result], tolerance: float = TOLERANCE
) -> list[Change]:
    """All values that stand on both sides, but for doubtful rows.

    Args:
        old: Results, repeated runs among them.
        new: The same.
        tolerance: The least part by which a value must change.
    """
    before, after = (_grouped(each for each in side if not _doubtful(each)) for side in (old, new))
    changes = []
    for key in before.keys() & after.keys():
        theirs, mine = before[key], after[key]
        same = {result.machine for result in (*theirs, *mine)}
        for name in sorted(_names(theirs) & _names(mine)):
            if len(same) > 1 and not _is_ratio(name):
                continue
            pair = _value(theirs, name), _value(mine, name)
            ratio = pair[1].middle / pair[0].middle if pair[0].middle else 1.0
            worse = (1 / ratio if ratio else float("inf")) - 1 if name in MORE else ratio - 1
            changes.append(Change(str(mine[0]), name, *pair, worse, tolerance))
    return sorted(changes, key=lambda change: -change.worse)


def missing(old: Iterable[Result], new: Iterable[Result]) -> list[Missing]:
    """Cases that had values and have none now, or not all of them."""
    before, after = _grouped(old), _grouped(new)
    benchmarks = {results[0].benchmark for results in after.values()}
    found = []
    for key, results in before.items():
        first, names = results[0], _names(results)
        lost = names - _names(after.get(key, ()))
        if not lost:
            continue
        if first.benchmark not in benchmarks:
            why = NOT_RUN
        elif lost < names:
            why = LOST + ", ".join(sorted(lost))
        else:
            why = next((_reason(result) for result in after.get(key, ())), "gone")
        found.append(Missing(str(first), why, first.ours))
    return found


def _reason(result: Result) -> str:
    told = (f"{name}: {result.values[name]}" for name in REASONS if name in result.values)
    return next(told, "without values").replace("_", " ", 1)


def _doubtful(result: Result) -> bool:
    return bool(result.values.get("doubtful"))


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
    return set.intersection(*names) & (LESS | MORE) if names else set()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ratio(name: str) -> bool:
    return name in RATIOS or name.endswith("overhead_percent")


def _value(results: Sequence[Result], name: str) -> Value:
    """Of repeated runs."""
    middles = [_plain(name, result.values[name]) for result in results]
    within = [_error(result, name) for result in results]
    error = math.sqrt(sum(each**2 for each in within)) / len(results)
    if len(results) > 1:
        between = MEDIAN * statistics.stdev(middles) / math.sqrt(len(results))
        error = max(error, between)
    return Value(statistics.median(middles), error)


def _error(result: Result, name: str) -> float:
    """Standard error of a value, as its run tells it."""
    values = result.values
    said = f"{name.removesuffix('_percent')}_error"
    if said in values:
        return float(values[said]) / (100 if name.endswith("_percent") else 1)
    ends = [f"{name}_{end}" for end in ("low", "high")]
    if not all(end in values for end in ends):
        return 0.0
    low, high = (_plain(name, values[end]) for end in ends)
    turns = values.get("turns", values.get("rounds", FEW))
    return MEDIAN * (high - low) / QUANTILES / math.sqrt(turns)


def _plain(name: str, value: float) -> float:
    """What an overhead or a stall of so many percent makes of a time, which is never near zero."""
    return 1 + value / 100 if "overhead_percent" in name or "stall_percent" in name else value


def report(changes: Sequence[Change], gone: Sequence[Missing], doubtful: int) -> str:
    """Tables of what changed and of what is missing, and numbers of the rest.

    Args:
        changes: Of ``compare``.
        gone: Of ``missing``.
        doubtful: Rows that were not compared.
    """
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
    parts = list(map(str.rstrip, aligned([head, *lines], left=(0, 3, 6)))) if lines else []
    parts += [f"{each.verdict}: {each.case}: {each.why}" for each in gone]
    parts.append(f"{len(changes) - len(told)} of {len(changes)} values are as they were")
    if doubtful:
        parts.append(f"{doubtful} rows are doubtful, others used the machine: not compared")
    return "\n".join(parts)


def main(words: Sequence[str] | None = None) -> int:
    """Compare what the command line names; gives the exit status."""
    options = _options(words)
    try:
        old, new = (_read(path) for path in (options.old, options.new))
    except UserError as error:
        print(f"benchmarks/compare.py: {error}", file=sys.stderr)
        return 2
    changes, gone = compare(old, new, options.tolerance), missing(old, new)
    doubtful = sum(map(_doubtful, (*old, *new)))
    if not changes and not gone and not doubtful:
        print(
            f"benchmarks/compare.py: {options.old} and {options.new} have no case in common",
            file=sys.stderr,
        )
        return 2
    print(report(changes, gone, doubtful))
    verdicts = {each.verdict for each in changes} | {each.verdict for each in gone}
    if "worse" in verdicts:
        return 1
    if not changes and not doubtful:
        return 2
    return 3 if doubtful or verdicts & {"too noisy", "unknown"} else 0


def _read(path: Path) -> list[Result]:
    return read_all(path) if path.is_dir() else read_results(path)


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
