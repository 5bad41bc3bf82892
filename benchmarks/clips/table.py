"""What a benchmark of the pipeline found, as text: ours beside its peers, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.clips.contestants import OURS, PEERS
from benchmarks.clips.measurement import Row
from benchmarks.harness.common import aligned

COLUMNS = (
    *("source", "T", "contestant", "clips/s", "+-%", "CPU ms/clip", "out GB/s", "in MB/s"),
    *("first s", "ours: x clips/s", "x CPU"),
)
GPU_COLUMNS = ("GPU MB", "NVDEC %", "NVJPG %")
LEGEND = (
    "+-% is half of the range of all turns. CPU ms/clip is of all processes and threads. Then ours",
    "against each: how many times as many clips/s it feeds, and its part of their CPU time.",
)
REASONS = ("wrong", "error", "absent", "left_out")
"""Columns that say why a row has no times."""


@dataclass(frozen=True)
class Target:
    """What is asked of ours on one source, beside one peer or the best of all."""

    source: str
    peer: str | None
    """None for whichever feeds most."""
    speedup: float
    """Times as many clips/s, at least."""
    cpu: float | None = None
    """Part of the CPU seconds per clip, at most."""


TARGETS = {
    "cpu": (
        Target("vp9", "PyAV+PIL", 2.0, 0.55),
        Target("vp9", "decord+PIL", 1.5, 0.55),
        Target("jpeg", "PIL", 2.0, 0.55),
    ),
    "cuda": tuple(Target(source, None, 5.0) for source in ("h264", "vp9", "jpeg")),
}


class Results:
    """Rows by source, length and contestant."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._found = {
            (row["source"], row["segments"], row["contestant"]): row
            for row in self.rows
            if "clips_per_s" in row
        }

    def get(self, like: Row, contestant: str) -> Row | None:
        """The times of a contestant where another row is from, if there are any."""
        return self._found.get((like["source"], like["segments"], contestant))

    def ours(self) -> list[Row]:
        """Our rows with times."""
        return [row for row in self._found.values() if row["contestant"] == OURS.name]

    def best_peer(self, like: Row) -> Row | None:
        """The peer that feeds most."""
        peers = [row for peer in PEERS if (row := self.get(like, peer.name))]
        return max(peers, key=lambda row: number(row, "clips_per_s"), default=None)


def number(row: Row, column: str) -> float:
    """A column's value."""
    value = row[column]
    assert isinstance(value, int | float)
    return float(value)


def ratio(row: Row, other: Row, column: str) -> float:
    """Of two rows' values."""
    return number(row, column) / number(other, column)


def report(rows: Iterable[Row], device: str, consumed: float | None = None) -> str:
    """Table, targets, and all that is not as it should be.

    Args:
        rows: of a run.
        device: "cpu" or "cuda".
        consumed: clips/s that a training step takes.
    """
    results = Results(rows)
    columns = (*COLUMNS, *(GPU_COLUMNS if device == "cuda" else ()))
    parts = {
        "": [*aligned([columns, *_table(results, len(columns))], left=(0, 2)), *LEGEND],
        "Targets": [line for target in TARGETS[device] for line in _verdicts(results, target)],
        "A training step": [] if consumed is None else list(_supply(results, consumed)),
        "Wrong": _reasons(results.rows, "wrong"),
        "Failed": _reasons(results.rows, "error"),
        "Absent": _reasons(results.rows, "absent"),
        "Left out": _reasons(results.rows, "left_out"),
        "Doubtful": list(_doubts(results.rows)),
    }
    return "\n\n".join(
        "\n".join([f"{title}:", *lines] if title else lines)
        for title, lines in parts.items()
        if lines
    )


def is_good(rows: Iterable[Row]) -> bool:
    """Whether nobody is wrong and ours ran; how fast is another question."""
    return not any("wrong" in row or (_is_ours(row) and "error" in row) for row in rows)


def _is_ours(row: Row) -> bool:
    return str(row["contestant"]).startswith(OURS.name)


def _table(results: Results, width: int) -> Iterator[list[str]]:
    for row in results.rows:
        cells = [str(row["source"]), str(row["segments"]), str(row["contestant"])]
        reason = next((name for name in REASONS if name in row), None)
        cells += [reason.replace("_", " ")] if reason else _times(results, row)
        yield [*cells, *["-"] * (width - len(cells))][:width]


def _times(results: Results, row: Row) -> list[str]:
    speed, low, high = (number(row, f"clips_per_s{end}") for end in ("", "_low", "_high"))
    ours = results.get(row, OURS.name)
    compared = ["-", "-"]
    if ours is not None and ours is not row:
        compared = [f"{ratio(ours, row, name):.2f}" for name in ("clips_per_s", "cpu_s_per_clip")]
    engines = ("gpu_memory_mb", "decoder_percent", "jpeg_percent")
    return [
        f"{speed:.1f}",
        f"{50 * (high - low) / speed:.0f}",
        f"{1e3 * number(row, 'cpu_s_per_clip'):.1f}",
        f"{number(row, 'output_gb_per_s'):.2f}",
        f"{1e3 * number(row, 'input_gb_per_s'):.1f}",
        f"{number(row, 'start_s'):.1f}",
        *compared,
        *(str(row.get(name, "-")) for name in engines),
    ]


def _verdicts(results: Results, target: Target) -> Iterator[str]:
    """A line for each length."""
    mine = [row for row in results.ours() if row["source"] == target.source]
    if not mine:
        yield f"not measured  {target.source}"
    for row in mine:
        peer = results.get(row, target.peer) if target.peer else results.best_peer(row)
        place = f"{row['source']}, {row['segments']} segments"
        if peer is None:
            yield f"not measured  {place}: {target.peer or 'no peer'}"
            continue
        speedup = ratio(row, peer, "clips_per_s")
        yield _line(
            speedup >= target.speedup,
            f"{place}: {speedup:.2f} times the clips/s of {peer['contestant']}, "
            f">= {target.speedup:g}",
        )
        if target.cpu is not None:
            cpu = ratio(row, peer, "cpu_s_per_clip")
            yield _line(
                cpu <= target.cpu,
                f"{place}: {cpu:.2f} of the CPU time of {peer['contestant']}, <= {target.cpu:g}",
            )


def _line(met: bool, text: str) -> str:
    return f"{'met' if met else 'MISSED':<12}  {text}"


def _supply(results: Results, consumed: float) -> Iterator[str]:
    for row in results.ours():
        speed = number(row, "clips_per_s")
        yield _line(
            speed > consumed,
            f"{row['source']}, {row['segments']} segments: {speed:.0f} clips/s fed, "
            f"{consumed:g} consumed",
        )


def _reasons(rows: Iterable[Row], column: str) -> list[str]:
    """Reasons, each with whose and where."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if column in row:
            place = f"{row['contestant']} ({row['source']}, T={row['segments']})"
            groups.setdefault(str(row[column]), []).append(place)
    return [f"{reason}: {', '.join(whose)}" for reason, whose in groups.items()]


def _doubts(rows: Iterable[Row]) -> Iterator[str]:
    doubtful = [row for row in rows if row.get("doubtful")]
    if doubtful:
        busy = max(number(row, "foreign_cores") for row in doubtful)
        yield (
            f"others kept up to {busy:.1f} cores busy in {len(doubtful)} of these rows: "
            "clips/s are lower than they could be; measure again on an idle machine"
        )
