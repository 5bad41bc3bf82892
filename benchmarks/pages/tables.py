"""Tables of what was measured, as Markdown: one for each machine that measured.

What was not measured is no line of a table; a sentence below it names that. Whole messages of
errors stand in the results only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks.harness.rows import REASONS, Result
from benchmarks.pages.epochs import epochs
from benchmarks.pages.targets import judge

NOTHING = "Nothing has been measured yet."
DOUBTFUL = "others used the machine"
UNMEASURED = {"left_out": "Not measured", "absent": "Absent"}
"""Values that keep a case out of the table, and how its sentence begins."""
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


def spread(name: str, form: str = ".1f", scale: float = 1.0) -> Column:
    """A number and its spread."""
    parts = [value(f"{name}{end}", form, scale) for end in ("", "_low", "_high")]

    def cell(result: Result) -> str:
        middle, low, high = (str(part(result)) for part in parts)
        return middle if low in ("-", high) else f"{middle} ({low} to {high})"

    return cell


def error(name: str) -> Column:
    """Percent, and the error of that."""
    return lambda result: (
        f"{result.values[f'{name}_percent']:.1f} +- {result.values[f'{name}_error']:.1f}"
    )


def remark(result: Result) -> str:
    """Why there are no numbers, or why they are to be doubted."""
    for name in REASONS:
        if name in result.values:
            said = str(result.values[name])
            if name == "error":
                said = said.partition(":")[0]
            return f"**{name.replace('_', ' ')}**: {said}"
    return DOUBTFUL if result.values.get("doubtful") else ""


SIZE = {"network": case("model"), "T": case("segments"), "pixels": case("pixels")}
STEPS: Mapping[str, Column] = {
    **SIZE,
    "clips": case("clips"),
    "who": case("peer"),
    "in": case("precision"),
    "ms": value("ms", ".0f"),
    "times as fast": spread("ratio", ".2f"),
    "by CPU time": value("cpu_ratio", ".2f"),
    "peak MB": value("peak_mb", ".0f"),
    "kept MB": value("kept_mb", ".0f"),
}
SPLIT: Mapping[str, Column] = {
    **SIZE,
    "clips": case("clips"),
    "who": case("peer"),
    "in": case("precision"),
    "clips/s": value("clips_per_s"),
    "forward ms": value("forward_ms"),
    "backward ms": value("backward_ms"),
    "update ms": value("update_ms"),
    "GPU busy %": value("gpu_busy_percent", ".0f"),
    "launches": value("launches", ".0f"),
    "kernels": value("kernels", ".0f"),
}
FROM_FILES: Mapping[str, Column] = {
    **SIZE,
    "clips": case("clips"),
    "source": case("source"),
    "page cache": case("cache"),
    "ms from memory": value("memory_ms", ".0f"),
    "ms from files": value("files_ms", ".0f"),
    "stall %": spread("stall_percent"),
    "ms of waiting": value("wait_ms"),
    "ms of copies": value("copy_ms"),
    "clips/s": value("clips_per_s"),
    "clips/s of the loader alone": value("loader_clips_per_s"),
    "GPU busy %": value("gpu_busy_percent", ".0f"),
    "launches": value("launches", ".0f"),
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
KERNELS: Mapping[str, Column] = {
    "operation": case("operation"),
    "features": case("shape"),
    "clips": case("clips"),
    "mode": case("mode"),
    "who": case("peer"),
    "in": case("dtype"),
    "ms": value("ms", ".3f"),
    "ms of the GPU": value("gpu_ms", ".3f"),
    "% of a copy's GB/s": value("percent_of_copy", ".0f"),
    "launches but convs": value("launches_others", ".0f"),
}
SCALING: Mapping[str, Column] = {
    "network": lambda result: result.where.get("model", "-"),
    "scaling": case("scaling"),
    "processes": case("processes"),
    "clips each": case("clips"),
    "ms": value("step", ".1f", 1e3),
    "% of one alone": spread("efficiency", ".0f", 100),
    "forward ms": value("forward_ms"),
    "backward ms": value("backward_ms"),
    "all-reduce ms": value("all_reduce_ms"),
    "update ms": value("update_ms"),
    "% projected": value("efficiency_projected", ".0f", 100),
}
PROJECTED: Mapping[str, Column] = {
    "GPUs or processes": case("processes"),
    "ms": value("step", ".1f", 1e3),
    "all-reduce ms": value("averaging", ".2f", 1e3),
    "of it not hidden": value("exposed", ".2f", 1e3),
    "for the slowest": value("late", ".2f", 1e3),
    "% of one alone": value("efficiency", ".0f", 100),
    "clips/s": value("clips_per_s", ",.0f"),
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
    "ms of a step": value("step_ms"),
    "of it all-reduce and waiting": value("exchange_ms"),
    "links": lambda result: result.values.get("links", "-"),
}
OVERHEAD: Mapping[str, Column] = {
    "network": case("model"),
    "processes": case("processes"),
    "in": case("precision"),
    "steps a line of the log": value("steps_a_turn", ".0f"),
    "ms of a bare step": value("time_ms_bare"),
    "% more time": error("time_overhead"),
    "% more CPU time": error("cpu_overhead"),
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
GATE: Mapping[str, Column] = {
    "part": case("part"),
    "times as fast as its yardstick": value("cpu_ratio", ".2f"),
    "expected": value("expected", ".2f"),
    "error": value("cpu_ratio_error", ".3f"),
    "yardstick against itself": value("control", ".2f"),
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
    """The rows of one machine, what has no row, and what machine it is."""
    shown = [row for row in rows if not _unmeasured(row)]
    parts = [*_sentences(rows), machines(rows)]
    if not shown:
        return "\n\n".join(parts)
    lines = [[str(column(row)) for column in columns.values()] for row in shown]
    head, remarks = list(columns), [remark(row) for row in shown]
    if set(remarks) == {DOUBTFUL}:
        parts.insert(0, f"{DOUBTFUL.capitalize()} meanwhile.")
    elif any(remarks):
        head.append("")
        lines = [[*line, said] for line, said in zip(lines, remarks, strict=True)]
    used = [place for place, name in enumerate(head) if {line[place] for line in lines} != {"-"}]
    head, *lines = ([line[place] for place in used] for line in (head, *lines))
    return "\n\n".join((markdown(head, lines), *parts))


def machines(rows: Sequence[Result]) -> str:
    """Where, with what and when rows were measured."""
    where = {
        f"{row.where['device']}, {row.where['cpus']} cores, torch {row.where['torch']}, commit "
        f"{row.where['commit']}, {str(row.where['date'])[:10]}"
        for row in rows
    }
    return f"{'; '.join(sorted(where))}."


def _unmeasured(row: Result) -> str | None:
    """Which value keeps a row out of the table."""
    return next((name for name in UNMEASURED if name in row.values), None)


def _sentences(rows: Sequence[Result]) -> Iterator[str]:
    """One for each reason why rows were not measured, and one for all that are absent."""
    groups: dict[str, list[Result]] = {}
    for row in rows:
        if name := _unmeasured(row):
            reason = "" if name == "absent" else f" ({row.values[name]})"
            groups.setdefault(f"{UNMEASURED[name]}{reason}", []).append(row)
    for begin, missing in groups.items():
        which = "" if len(missing) == len(rows) else f": {', '.join(_names(missing, rows))}"
        yield f"{begin}{which}."


def _names(missing: Sequence[Result], rows: Sequence[Result]) -> Iterable[str]:
    """What the rows differ in; of a peer of whom there are no others its name is enough."""
    differing = [
        name
        for name in dict.fromkeys(name for row in rows for name in row.case)
        if len({str(row.case.get(name)) for row in rows}) > 1
    ]
    others = {row.peer for row in rows if row not in missing} | {None}
    names = (
        " ".join(str(row.case[name]) for name in differing if name in row.case)
        if row.peer in others
        else str(row.peer)
        for row in missing
    )
    return dict.fromkeys(names)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; a bar in a cell would end it."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def estimates(results: Sequence[Result]) -> str:
    """Of epochs, as far as their parts were measured."""
    found = epochs(results)
    lacking = "Not estimated: it needs training steps and training from files on a GPU."
    return table("epoch", EPOCHS)(found) if found else lacking


def targets(results: Sequence[Result]) -> str:
    """What this product is meant to reach, and what became of it."""
    lines = [
        (verdict.name, verdict.target, verdict.measured, verdict.verdict)
        for verdict in judge(results)
    ]
    return markdown(("target", "demanded", "measured", "verdict"), lines)


def unmeasured(results: Sequence[Result]) -> str:
    """Of which there are no numbers of a GPU, and of which none of a CPU."""
    parts = []
    for device, names in (("a GPU", GPU_PARTS), ("a CPU", CPU_PARTS)):
        here = [each for each in results if ("cuda" in each.where) == (device == "a GPU")]
        lacking = {
            text: _lacking([each for each in here if each.benchmark == name])
            for name, text in names.items()
        }
        missing = [f"{text}{part}" for text, part in lacking.items() if part is not None]
        if missing:
            none = set(lacking.values()) == {""}
            begin = f"On {device} **nothing** was measured yet" if none else f"Not yet on {device}"
            parts.append(f"{begin}: {', '.join(missing)}.")
    return "\n".join(parts) or "On a GPU and on a CPU all has been measured."


def _lacking(rows: Sequence[Result]) -> str | None:
    """How much of a benchmark's rows is missing: "" for all of ours, None for nothing."""
    missing = [row for row in rows if any(reason in row.values for reason in REASONS)]
    if not any(row.ours and row not in missing for row in rows):
        return ""
    left_out = [row for row in missing if row.ours and "absent" not in row.values]
    return f" ({len(left_out)} of {len(rows)} cases)" if left_out else None


CPU_PARTS = {
    "training": "training steps",
    "roofline": "roofline",
    "from_files": "training from files",
    "pipeline": "loader",
    "growth": "growth of cost",
    "scaling": "several processes",
    "trainer_overhead": "the trainer's own cost",
    "gate": "gate",
    "manifest": "manifests",
}
GPU_PARTS = {
    "kernels": "kernels",
    **{name: text for name, text in CPU_PARTS.items() if name not in ("gate", "manifest")},
}


def _is_ours(result: Result) -> bool:
    return result.ours and result.case.get("operator") != "all"


def _of_row(kind: str, scaling: str | None = None) -> Callable[[Result], bool]:
    return lambda result: (
        result.case["row"] == kind and scaling in (None, result.case.get("scaling"))
    )


TABLES: dict[str, Callable[[Sequence[Result]], str]] = {
    "unmeasured": unmeasured,
    "targets": targets,
    "training": table("training", STEPS),
    "split": table("training", SPLIT),
    "gaps": table("roofline", GAPS, _is_ours),
    "from_files": table("from_files", FROM_FILES),
    "epochs": estimates,
    "pipeline": table("pipeline", PIPELINE),
    "kernels": table("kernels", KERNELS),
    "growth": table("growth", GROWTH),
    "scaling": table("scaling", SCALING, _of_row("measured")),
    "projected": table("scaling", PROJECTED, _of_row("projected", "weak")),
    "overhead": table("trainer_overhead", OVERHEAD),
    "gate": table("gate", GATE),
    "manifest": table("manifest", MANIFEST),
}
