"""What a benchmark of kernels found, as text: our times beside our peers', and the targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.contestants import COMPILED, EAGER, GRAPH, OURS, REWRITTEN
from benchmarks.measurement import Row

LARGE = 50
"""Megabytes of features from which a kernel is judged by its bandwidth."""
COMPILERS = (COMPILED.name, REWRITTEN.name)
COLUMNS = (
    *("operation", "shape", "clips", "mode", "ms", "20 %", "80 %", "GB/s", "% of copy"),
    *("peak MB", "launches", "+ convs", "x eager", "x compile", "x rewritten"),
)
Place = tuple[object, ...]
"""Operation, shape, clips and mode."""


class Results:
    """Rows by place and peer."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._by_place: dict[Place, dict[str, Row]] = {}
        for row in self.rows:
            self._by_place.setdefault(place(row), {})[str(row["peer"])] = row

    def ours(self, suffix: str = "") -> Iterator[Row]:
        """Our rows that are right; of CUDA graphs with their suffix."""
        return (row for row in self.rows if row["peer"] == OURS.name + suffix and row.get("right"))

    def milliseconds(self, row: Row, peer: str) -> float | None:
        """A peer's time at the place of a row, if its results are right there."""
        found = self._by_place[place(row)].get(peer, {})
        return float(str(found["ms"])) if found.get("right") else None

    def speedup(self, row: Row, *peers: str) -> float | None:
        """How many times faster a row is than the fastest of some peers."""
        times = [ms for peer in peers if (ms := self.milliseconds(row, peer)) is not None]
        return min(times) / float(str(row["ms"])) if times else None


@dataclass(frozen=True)
class Target:
    """What is asked of some rows of ours."""

    what: str
    bound: float
    most: bool
    """Whether the bound is the most that is allowed, or the least."""
    value: Callable[[Results, Row], float | None]
    applies: Callable[[Row], bool]
    suffix: str = ""

    def verdict(self, results: Results) -> str:
        """A line that says whether it is met, and where it is closest or missed by most."""
        values = [
            (value, row)
            for row in results.ours(self.suffix)
            if self.applies(row) and (value := self.value(results, row)) is not None
        ]
        what = f"{self.what} {'<=' if self.most else '>='} {self.bound:g}"
        if not values:
            return f"not measured  {what}"
        met = sum(v <= self.bound if self.most else v >= self.bound for v, _ in values)
        pick = max if self.most else min
        worst, row = pick(values, key=lambda pair: pair[0])
        verdict = "met" if met == len(values) else "MISSED"
        where = f"{row['shape']}, {row['clips']} clips"
        return (
            f"{verdict:<12}  {what}: {met} of {len(values)}; {pick.__name__} {worst:.3g} ({where})"
        )


def place(row: Row) -> Place:
    """Where a row was measured."""
    return row["operation"], row["shape"], row["clips"], row["mode"]


def _of(operation: str, *modes: str, large: bool = False) -> Callable[[Row], bool]:
    def applies(row: Row) -> bool:
        here = row["operation"] == operation and row["mode"] in modes
        return here and (not large or float(str(row["features_mb"])) >= LARGE)

    return applies


def _column(name: str) -> Callable[[Results, Row], float | None]:
    def value(_: Results, row: Row) -> float | None:
        return None if row[name] is None else float(str(row[name]))

    return value


def _speedup(*peers: str) -> Callable[[Results, Row], float | None]:
    return lambda results, row: results.speedup(row, *peers)


def _targets() -> Iterator[Target]:
    percent, launches = _column("percent_of_copy"), _column("launches_others")
    large = f"features of {LARGE} MB and more"
    yield Target("stem, % of copy", 85, False, percent, _of("stem", "forward"))
    for mode, bound in (("forward", 85), ("backward", 70)):
        applies = _of("gated-mix", mode, large=True)
        yield Target(f"gated mix {mode}, {large}, % of copy", bound, False, percent, applies)
    for suffix in ("", GRAPH):
        applies = _of("block-training", "both")
        for peers, bound, what in (
            ((EAGER.name,), 4, EAGER.name),
            (COMPILERS, 1.5, "the faster of torch.compile"),
        ):
            value = _speedup(*(peer + suffix for peer in peers))
            what = f"block training{suffix}, times {what}"
            yield Target(what, bound, False, value, applies, suffix)
    for mode, bound in (("forward", 12), ("backward", 16)):
        what = f"block training {mode}, launches besides convs"
        yield Target(what, bound, True, launches, _of("block-training", mode))


TARGETS = tuple(_targets())


def report(rows: Iterable[Row]) -> str:
    """Table, targets, and all that is not as it should be."""
    results = Results(rows)
    parts = {
        "": _aligned([COLUMNS, *_table(results)]),
        "Targets": [target.verdict(results) for target in TARGETS],
        "Where ours is not the fastest": list(_losses(results)),
        "Wrong": [f"{_named(row)}: {_errors(row)}" for row in wrong(results.rows)],
        "Failed": _grouped(results.rows, "error"),
        "Left out": _grouped(results.rows, "left_out"),
    }
    return "\n\n".join(
        "\n".join(([f"{title}:"] if title else []) + lines)
        for title, lines in parts.items()
        if lines
    )


def wrong(rows: Iterable[Row]) -> list[Row]:
    """Rows whose results or gradients are not those of float64."""
    return [row for row in rows if row.get("right") is False]


def _table(results: Results) -> Iterator[tuple[str, ...]]:
    for suffix in ("", GRAPH):
        for row in results.ours(suffix):
            speedups = [results.speedup(row, p + suffix) for p in (EAGER.name, *COMPILERS)]
            yield (
                *(str(row[name]) for name in ("operation", "shape", "clips")),
                f"{row['mode']}{suffix}",
                *(f"{row[name]:.4f}" for name in ("ms", "ms_20", "ms_80")),
                *(f"{row[name]:.0f}" for name in ("gb_per_s", "percent_of_copy")),
                *(_number(row[name], ".0f") for name in ("peak_mb", "launches_others")),
                _number(row["launches_convs"], ".0f"),
                *(_number(speedup, ".2f") for speedup in speedups),
            )


def _losses(results: Results) -> Iterator[str]:
    for suffix in ("", GRAPH):
        for row in results.ours(suffix):
            for peer in (EAGER.name, *COMPILERS):
                speedup = results.speedup(row, peer + suffix)
                if speedup is not None and speedup < 1:
                    yield f"{_named(row)}: {peer}{suffix} takes {speedup:.2f} of the time"


def _grouped(rows: list[Row], column: str) -> list[str]:
    """Reasons, each with how many rows have it and whose they are."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if column in row:
            groups.setdefault(str(row[column]), []).append(row)
    lines = []
    for reason, found in groups.items():
        whose = sorted({f"{row['operation']} by {row['peer']}" for row in found})
        more = f" and {len(whose) - 4} more" if len(whose) > 4 else ""
        lines.append(f"{reason} ({len(found)} rows: {'; '.join(whose[:4])}{more})")
    return lines


def _errors(row: Row) -> str:
    found = (
        f"{name.replace('_', ' ')} {row[name]}"
        for name in ("result_error", "gradient_error", "gradient_error_of")
        if name in row
    )
    return ", ".join(found)


def _named(row: Row) -> str:
    return f"{row['operation']} {row['shape']}, {row['clips']} clips, {row['mode']}, {row['peer']}"


def _number(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    """Text to the left, numbers to the right; a wide line has no trailing blanks."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index in (0, 1, 3) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
