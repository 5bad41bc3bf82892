"""What remedies against slowness gave: pairs of results, for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.rows import Result
from benchmarks.pages.tables import DOUBTFUL, NOTHING, machines, markdown


class Remedy(NamedTuple):
    """Two results that differ in one thing."""

    name: str
    benchmark: str
    common: Mapping[str, object]
    """Of both cases."""
    before: Mapping[str, object]
    after: Mapping[str, object]
    value: str
    unit: str
    scale: float = 1.0
    more_is_better: bool = False


def _decoding(name: str, before: str, after: str) -> Remedy:
    common = {"segments": 8, "contestant": "ours"}
    sources = {"source": before}, {"source": after}
    return Remedy(name, "pipeline", common, *sources, "cpu_s_per_clip", "CPU ms a clip", 1e3)


def _loader(source: str, peer: str) -> Remedy:
    common = {"segments": 8, "source": source}
    who = {"contestant": peer}, {"contestant": "ours"}
    name = f"this loader for {source}, in place of {peer}"
    return Remedy(name, "pipeline", common, *who, "clips_per_s", "clips/s", 1, True)


def _growth(name: str, along: str, before: int, after: int) -> Remedy:
    sizes = {along: before}, {along: after}
    return Remedy(name, "growth", {"along": along}, *sizes, "clips_per_s", "clips/s", 1, True)


REMEDIES = (
    _decoding("folders of JPEG in place of VP9", "vp9", "jpeg"),
    _decoding("folders of JPEG in place of H.264", "h264", "jpeg"),
    _loader("vp9", "PyAV+PIL"),
    _loader("h264", "PyAV+PIL"),
    _loader("jpeg", "PIL"),
    _growth("2 threads for the loader in place of 1", "workers", 1, 2),
    _growth("8 clips a step in place of 1, a small network", "clips", 1, 8),
    _growth("8 segments in place of 16, a small network", "segments", 16, 8),
    _growth("64 pixels in place of 128, a small network", "pixels", 128, 64),
    Remedy(
        "this network in place of the released code's arithmetic, R50, 112 pixels",
        "training",
        {"model": "tdn_resnet50", "segments": 8, "pixels": 112, "precision": "fp32"},
        {"peer": "released code"},
        {"peer": "ours"},
        "ms",
        "ms a step",
    ),
    Remedy(
        "2 processes in place of 1, a small network, as many clips for each",
        "scaling",
        {"row": "measured", "scaling": "weak"},
        {"processes": 1},
        {"processes": 2},
        "clips_per_s",
        "clips/s",
        1,
        True,
    ),
)
HEAD = ("remedy", "what", "before", "after", "times as good", "measured by")


def remedies(results: Sequence[Result]) -> str:
    """A table of those whose two results are there, of the machine that measured last."""
    lines, shown = [], []
    for remedy in REMEDIES:
        before = _last(remedy, remedy.before, results)
        after = _last(remedy, remedy.after, results)
        if before is None or after is None or before.machine != after.machine:
            continue
        numbers = [remedy.scale * each.values[remedy.value] for each in (before, after)]
        first, second = numbers if remedy.more_is_better else reversed(numbers)
        doubtful = any(each.values.get("doubtful") for each in (before, after))
        lines.append(
            [f"{remedy.name} ({DOUBTFUL})" if doubtful else remedy.name, remedy.unit]
            + [f"{number:.3g}" for number in numbers]
            + [f"{second / first:.2f}", f"`benchmarks/{remedy.benchmark}.py`"]
        )
        shown += [before, after]
    return f"{markdown(HEAD, lines)}\n\n{machines(shown)}" if lines else NOTHING


def _last(remedy: Remedy, case: Mapping[str, object], results: Sequence[Result]) -> Result | None:
    """The last result of a case; several sizes may differ in what the remedy does not say."""
    wanted = {**remedy.common, **case}.items()
    found = [
        result
        for result in results
        if result.benchmark == remedy.benchmark
        and remedy.value in result.values
        and "operator" not in result.case
        and wanted <= result.case.items()
    ]
    return found[-1] if found else None
