"""What a benchmark of kernels found, as text: our times beside our peers', and the targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.harness.common import aligned
from benchmarks.operations.contestants import COMPILED, EAGER, GRAPH, OURS, REWRITTEN
from benchmarks.operations.measurement import Row

LARGE = 50
"""Megabytes of features from which a kernel is judged by its bandwidth."""
COMPILERS = (COMPILED.name, REWRITTEN.name)
CALLED, GPU = "ms", "gpu_ms"
"""Columns of times: with the host's part in them, and without."""
COLUMNS = (
    *("operation", "shape", "clips", "mode", "ms", "+-%", "GPU ms", "GB/s", "% of copy"),
    *("peak MB", "launches", "+ convs", "x eager", "x compile", "x rewritten"),
    *("GPU: x eager", "x compile", "x rewritten"),
)
LEGEND = (
    "Speedups are over eager AMP channels_last, torch.compile and torch.compile of the rewritten",
    "reference; behind GPU, with the host's launches ahead. +-% is half of the 20 % to 80 % range.",
)
Value = Callable[["Results", Row], float | None]


class Results:
    """Rows by place, which is an operation, a size and a mode, and by peer."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._by_place: dict[tuple[object, ...], dict[str, Row]] = {}
        for row in self.rows:
            self._by_place.setdefault(_place(row), {})[str(row["peer"])] = row

    def ours(self, suffix: str = "") -> Iterator[Row]:
        """Our rows that are right; of CUDA graphs with their suffix."""
        return (row for row in self.rows if row["peer"] == OURS.name + suffix and row.get("right"))

    def speedup(self, row: Row, peers: Iterable[str], column: str = CALLED) -> float | None:
        """How many times faster a row is than the fastest of the peers that are right there."""
        here = self._by_place[_place(row)]
        found = [here[peer] for peer in peers if here.get(peer, {}).get("right")]
        times = [ms for peer in found if (ms := number(peer, column)) is not None]
        ours = number(row, column)
        return min(times) / ours if times and ours else None


@dataclass(frozen=True)
class Target:
    """What is asked of some rows of ours."""

    what: str
    bound: float
    value: Value
    applies: Callable[[Row], bool]
    suffix: str = ""
    most: bool = False
    """Whether the bound is the most that is allowed; else it is the least."""

    def verdict(self, results: Results) -> str:
        """A line that says whether it is met, and the value that is furthest from it."""
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
        found = f"{met} of {len(values)}, {pick.__name__} {worst:.3g}"
        return f"{verdict:<12}  {what}: {found} ({row['shape']}, {row['clips']} clips)"


def _targets() -> Iterator[Target]:
    def of(operation: str, mode: str, megabytes: int = 0) -> Callable[[Row], bool]:
        return lambda row: (
            (row["operation"], row["mode"]) == (operation, mode)
            and (number(row, "features_mb") or 0) >= megabytes
        )

    def percent(_: Results, row: Row) -> float | None:
        return number(row, "percent_of_copy")

    def launches(_: Results, row: Row) -> float | None:
        return number(row, "launches_others")

    def speedup(peers: Iterable[str], suffix: str, column: str) -> Value:
        names = tuple(peer + suffix for peer in peers)
        return lambda results, row: results.speedup(row, names, column)

    yield Target("stem, % of copy", 85, percent, of("stem", "forward"))
    for mode, bound in (("forward", 85), ("backward", 70)):
        what = f"gated mix {mode}, features of {LARGE} MB and more, % of copy"
        yield Target(what, bound, percent, of("gated-mix", mode, LARGE))
    both = of("block-training", "both")
    for way, suffix, column in (
        ("as called", "", CALLED),
        ("on the GPU alone", "", GPU),
        ("as a CUDA graph", GRAPH, CALLED),
    ):
        what = f"block training {way}, times as fast as"
        eager = speedup((EAGER.name,), suffix, column)
        yield Target(f"{what} {EAGER.name}", 4, eager, both, suffix)
        compiled = speedup(COMPILERS, suffix, column)
        yield Target(f"{what} torch.compile, the faster", 1.5, compiled, both, suffix)
    for mode, bound in (("forward", 12), ("backward", 16)):
        what = f"block training {mode}, launches besides convs"
        yield Target(what, bound, launches, of("block-training", mode), most=True)


TARGETS = tuple(_targets())


def report(rows: Iterable[Row], timed: bool = True) -> str:
    """Table, targets, and all that is not as it should be.

    Args:
        rows: of a run.
        timed: whether its times say something; else they are not judged.
    """
    results = Results(rows)
    parts = {
        "": [*aligned([COLUMNS, *_table(results)], left=(0, 1, 3)), *LEGEND],
        "Targets": [target.verdict(results) for target in TARGETS] if timed else [],
        "Where ours is not the fastest": list(_losses(results)) if timed else [],
        "Wrong": [f"{_named(row)}: {_errors(row)}" for row in wrong(results.rows)],
        "Failed": _grouped(results.rows, "error"),
        "Left out": _grouped(results.rows, "left_out"),
    }
    return "\n\n".join(
        "\n".join([f"{title}:", *lines] if title else lines)
        for title, lines in parts.items()
        if lines
    )


def is_good(rows: Iterable[Row]) -> bool:
    """Whether nobody is wrong and ours ran; how fast is another question."""
    rows = list(rows)
    failed = [row for row in rows if row["peer"] == OURS.name and "error" in row]
    return not failed and not wrong(rows)


def wrong(rows: Iterable[Row]) -> list[Row]:
    """Rows whose results or gradients are not those of float64."""
    return [row for row in rows if row.get("right") is False]


def number(row: Row, column: str) -> float | None:
    """A column's value, if it has one."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else None


def _place(row: Row) -> tuple[object, ...]:
    return row["operation"], row["shape"], row["clips"], row["mode"]


def _speedups(results: Results, row: Row, suffix: str, column: str) -> list[float | None]:
    """Over every peer of the table by itself."""
    return [results.speedup(row, (p + suffix,), column) for p in (EAGER.name, *COMPILERS)]


def _table(results: Results) -> Iterator[tuple[str, ...]]:
    for suffix in ("", GRAPH):
        for row in results.ours(suffix):
            median, low, high = (number(row, f"{CALLED}{end}") for end in ("", "_low", "_high"))
            spread = 50 * (high - low) / median if low and high and median else None
            speedups = [
                text(v, ".2f")
                for column in (CALLED, GPU)
                for v in _speedups(results, row, suffix, column)
            ]
            yield (
                *(str(row[name]) for name in ("operation", "shape", "clips")),
                f"{row['mode']}{suffix}",
                *(text(median, ".4f"), text(spread, ".0f"), text(number(row, GPU), ".4f")),
                *(text(number(row, name), ".0f") for name in ("gb_per_s", "percent_of_copy")),
                *(text(number(row, name), ".0f") for name in ("peak_mb", "launches_others")),
                text(number(row, "launches_convs"), ".0f"),
                *speedups,
            )


def _losses(results: Results) -> Iterator[str]:
    for suffix in ("", GRAPH):
        for row in results.ours(suffix):
            pairs = zip(
                (EAGER.name, *COMPILERS),
                _speedups(results, row, suffix, CALLED),
                _speedups(results, row, suffix, GPU),
                strict=True,
            )
            for peer, called, gpu in pairs:
                if min(called or 1, gpu or 1) < 1:
                    times = (
                        f"{text(called, '.2f')} of our time, {text(gpu, '.2f')} on the GPU alone"
                    )
                    yield f"{_named(row)}: {peer} takes {times}"


def _grouped(rows: list[Row], column: str) -> list[str]:
    """Reasons, each with how many rows have it and whose they are."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if column in row:
            groups.setdefault(str(row[column]), []).append(row)
    lines = []
    for reason, found in groups.items():
        whose = sorted({f"{row['operation']} by {row['peer']}" for row in found})
        more = f"; and {len(whose) - 4} more" if len(whose) > 4 else ""
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


def text(value: float | None, form: str) -> str:
    """A number, or a dash for none."""
    return "-" if value is None else format(value, form)
