"""README's tables of what was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.rows import Result

NOTHING = "Nothing has been measured yet."


def training(results: Sequence[Result]) -> str:
    """Training steps beside the released code's."""
    rows = [
        (
            result.case["model"],
            result.case["segments"],
            result.case["pixels"],
            result.case["clips"],
            result.case["peer"],
            result.case["precision"],
            f"{result.values['ms']:.0f}",
            f"{result.values['ratio']:.2f}",
            f"{result.values['cpu_ratio']:.2f}",
            f"{result.values.get('peak_mb', result.values['kept_mb']):.0f}",
        )
        for result in _measured(results, "training", "ratio")
    ]
    head = ("network", "T", "pixels", "clips", "who", "in", "ms", "times as fast")
    return _table((*head, "by CPU time", "MB"), rows, results, "training")


def from_files(results: Sequence[Result]) -> str:
    """Training from files beside training from memory."""
    rows = [
        (
            result.case["source"],
            result.case["cache"],
            f"{result.values['memory_ms']:.0f}",
            f"{result.values['files_ms']:.0f}",
            f"{result.values['stall_percent']:.1f} ({result.values['stall_percent_low']:.1f} to "
            f"{result.values['stall_percent_high']:.1f})",
            f"{result.values['clips_per_s']:.1f}",
        )
        for result in _measured(results, "from_files", "stall_percent")
    ]
    head = ("source", "page cache", "ms from memory", "ms from files", "stall %", "clips/s")
    return _table(head, rows, results, "from_files")


def pipeline(results: Sequence[Result]) -> str:
    """The loader beside others."""
    rows = [
        (
            result.case["source"],
            result.case["segments"],
            result.case["contestant"],
            f"{result.values['clips_per_s']:.1f}",
            f"{1e3 * result.values['cpu_s_per_clip']:.0f}",
            "others used the machine" if result.values["doubtful"] else "",
        )
        for result in _measured(results, "pipeline", "clips_per_s")
    ]
    head = ("source", "T", "who", "clips/s", "CPU ms a clip", "")
    return _table(head, rows, results, "pipeline")


def gaps(results: Sequence[Result]) -> str:
    """The operators of our step that are furthest from what the device allows."""
    rows = [
        (
            result.case["operator"],
            f"{result.values['ms']:.1f}",
            f"{result.values['ideal_ms']:.1f}",
            f"{result.values['gap_percent_of_step']:.0f}",
        )
        for result in _measured(results, "roofline", "gap_percent_of_step")
        if result.case["peer"] == "ours"
    ]
    return _table(("operator", "ms", "ideal ms", "gap, % of the step"), rows, results, "roofline")


def _measured(results: Sequence[Result], benchmark: str, value: str) -> list[Result]:
    return [
        result for result in results if result.benchmark == benchmark and value in result.values
    ]


def _table(
    head: Sequence[str], rows: Sequence[Sequence[object]], results: Sequence[Result], name: str
) -> str:
    if not rows:
        return NOTHING
    lines = [head, ["---"] * len(head), *rows]
    where = sorted(
        {
            f"{result.where['device']}, {result.where['cpus']} cores, torch "
            f"{result.where['torch']}, commit {result.where['commit']}, "
            f"{str(result.where['date'])[:10]}"
            for result in results
            if result.benchmark == name
        }
    )
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    return f"{table}\n\n{'; '.join(where)}."


TABLES: dict[str, Callable[[Sequence[Result]], str]] = {
    "training": training,
    "from_files": from_files,
    "pipeline": pipeline,
    "gaps": gaps,
}
