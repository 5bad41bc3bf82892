"""README's tables of what was measured, as Markdown: one for each machine that measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.rows import REASONS, Result
from benchmarks.targets import judge

NOTHING = "Nothing has been measured yet."
DOUBTFUL = "others used the machine"
Column = Callable[[Result], object]


def case(name: str) -> Column:
    """What was measured."""
    return lambda result: result.case.get(name, "-")


def value(name: str, form: str = ".1f", scale: float = 1.0) -> Column:
    """A number, or a dash where there is none."""

    def cell(result: Result) -> str:
        number = result.values.get(name)
        return "-" if number is None else format(scale * number, form)

    return cell


def spread(name: str) -> Column:
    """A number and its spread."""
    parts = [value(f"{name}{end}") for end in ("", "_low", "_high")]

    def cell(result: Result) -> str:
        middle, low, high = (part(result) for part in parts)
        return f"{middle} ({low} to {high})"

    return cell


def remark(result: Result) -> str:
    """Why there are no numbers, or why they are to be doubted."""
    for name in REASONS:
        if name in result.values:
            return f"**{name.replace('_', ' ')}**: {result.values[name]}"
    return DOUBTFUL if result.values.get("doubtful") else ""


SIZE = {"network": case("model"), "T": case("segments"), "pixels": case("pixels")}
TRAINING: Mapping[str, Column] = {
    **SIZE,
    "clips": case("clips"),
    "who": case("peer"),
    "in": case("precision"),
    "ms": value("ms", ".0f"),
    "times as fast": value("ratio", ".2f"),
    "by CPU time": value("cpu_ratio", ".2f"),
    "peak MB": value("peak_mb", ".0f"),
    "kept MB": value("kept_mb", ".0f"),
}
FROM_FILES: Mapping[str, Column] = {
    **SIZE,
    "source": case("source"),
    "page cache": case("cache"),
    "ms from memory": value("memory_ms", ".0f"),
    "ms from files": value("files_ms", ".0f"),
    "stall %": spread("stall_percent"),
    "ms of waiting": value("wait_ms"),
    "ms of copies": value("copy_ms"),
    "clips/s": value("clips_per_s"),
}
PIPELINE: Mapping[str, Column] = {
    "source": case("source"),
    "T": case("segments"),
    "who": case("contestant"),
    "clips/s": value("clips_per_s"),
    "CPU ms a clip": value("cpu_s_per_clip", ".0f", 1e3),
}
GAPS: Mapping[str, Column] = {
    "network": case("model"),
    "in": case("precision"),
    "operator": case("operator"),
    "ms": value("ms"),
    "ideal ms": value("ideal_ms"),
    "gap, % of the step": value("gap_percent_of_step", ".0f"),
}
EPOCHS: Mapping[str, Column] = {
    "data set": case("dataset"),
    "GPUs": case("gpus"),
    "network": case("model"),
    "T": case("segments"),
    "who": case("peer"),
    "source": case("source"),
    "minutes an epoch": value("epoch_minutes"),
    "limited by": lambda result: result.values.get("limit", "-"),
}
GROWTH: Mapping[str, Column] = {
    "varied": case("along"),
    "network": case("model"),
    "T": case("segments"),
    "pixels": case("pixels"),
    "clips": case("clips"),
    "workers": case("workers"),
    "ms": value("ms"),
    "clips/s": value("clips_per_s"),
    "peak MB": value("peak_mb", ".0f"),
    "kept MB": value("kept_mb", ".0f"),
}
MANIFEST: Mapping[str, Column] = {
    "clips": lambda result: f"{result.case['clips']:,}",
    "s to write": value("write_s"),
    "s to open": value("open_s", ".2f"),
    "s to start an epoch": value("first_epoch_s", ".2f"),
    "us to plan a clip": value("plan_us_per_clip", ".0f"),
    "MB of a process": value("private_mb", ".0f"),
}


def table(
    benchmark: str,
    columns: Mapping[str, Column],
    shown: Callable[[Result], bool] = lambda _: True,
) -> Callable[[Sequence[Result]], str]:
    """What makes a table of a benchmark's rows.

    Args:
        benchmark: Its name.
        columns: By their heads.
        shown: Of its rows those that are.
    """

    def make(results: Sequence[Result]) -> str:
        rows = [result for result in results if result.benchmark == benchmark and shown(result)]
        machines = dict.fromkeys(result.machine for result in rows)
        parts = (_part([row for row in rows if row.machine == each], columns) for each in machines)
        return "\n\n".join(parts) or NOTHING

    return make


def _part(rows: Sequence[Result], columns: Mapping[str, Column]) -> str:
    """The rows of one machine, and what it is."""
    lines = [[str(column(row)) for column in columns.values()] for row in rows]
    head, remarks = list(columns), [remark(row) for row in rows]
    if any(remarks):
        head.append("")
        lines = [[*line, said] for line, said in zip(lines, remarks, strict=True)]
    where = sorted(
        {
            f"{row.where['device']}, {row.where['cpus']} cores, torch {row.where['torch']}, commit "
            f"{row.where['commit']}, {str(row.where['date'])[:10]}"
            for row in rows
        }
    )
    return f"{markdown(head, lines)}\n\n{'; '.join(where)}."


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; a bar in a cell would end it."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def targets(results: Sequence[Result]) -> str:
    """What this product is meant to reach, and what became of it."""
    lines = [
        (verdict.name, verdict.target, verdict.measured, verdict.verdict)
        for verdict in judge(results)
    ]
    return markdown(("target", "demanded", "measured", "verdict"), lines)


TABLES: dict[str, Callable[[Sequence[Result]], str]] = {
    "targets": targets,
    "training": table("training", TRAINING),
    "gaps": table(
        "roofline",
        GAPS,
        lambda result: (
            result.case.get("peer", "ours") == "ours" and result.case.get("operator") != "all"
        ),
    ),
    "from_files": table("from_files", FROM_FILES),
    "epochs": table("epoch", EPOCHS),
    "pipeline": table("pipeline", PIPELINE),
    "growth": table("growth", GROWTH),
    "manifest": table("manifest", MANIFEST),
}
