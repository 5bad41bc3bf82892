"""One form for the results of all benchmarks: a JSON line for each case that was measured.

    {"benchmark": "pipeline", "case": {"source": "h264", "segments": 8, "contestant": "ours"},
     "values": {"clips_per_s": 46.1, "clips_per_s_low": 40.5, "clips_per_s_high": 50.6, ...},
     "where": {"device": "...", "torch": "2.13.0", "commit": "...", "date": "..."}}

``case`` says what was measured: the same case in two files can be compared. Of ``values`` those
that have a direction can be (``LESS``, ``MORE``); NAME_low and NAME_high are the quantiles of its
turns in the run, 20 and 80 %, whose number is "turns" or "rounds"; NAME_error is its standard
error.
A value that says why others are missing is text: "error", "wrong", "absent" or "left_out".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdn.errors import UserError

Row = dict[str, object]
"""Case and values of a result in one, as benchmarks handle them while they run."""

LESS = frozenset(
    {
        *("ms", "gpu_ms", "cpu_ms", "forward_ms", "backward_ms", "update_ms", "step", "peak_mb"),
        *("kept_mb", "launches", "launches_others", "cpu_s_per_clip", "stall_percent"),
        *("cpu_overhead_percent", "time_overhead_percent", "write_s", "open_s", "private_mb"),
        *("first_epoch_s", "plan_us_per_clip", "wait_ms", "copy_ms", "kernels", "graph_pool_mb"),
        *("operators_ms",),
    }
)
"""Values that are the better the smaller they are."""
MORE = frozenset(
    {
        *("clips_per_s", "gb_per_s", "percent_of_copy", "percent_of_ideal", "efficiency"),
        *("ratio", "cpu_ratio", "gpu_busy_percent", "loader_clips_per_s"),
    }
)
REASONS = ("wrong", "error", "absent", "left_out")
"""Values that say why a case has no others."""


@dataclass(frozen=True)
class Result:
    """What was measured of one case."""

    benchmark: str
    case: dict[str, Any]
    values: dict[str, Any]
    where: dict[str, Any]
    """Device, versions, commit, date, and how much was measured."""

    @property
    def key(self) -> tuple[object, ...]:
        """What two results have in common that can be compared."""
        return self.benchmark, *(f"{name}={value}" for name, value in sorted(self.case.items()))

    @property
    def machine(self) -> tuple[object, ...]:
        """What two results must have in common for their times to say something together."""
        return tuple(self.where.get(name) for name in ("device", "cpus", "threads", "torch"))

    @property
    def peer(self) -> str | None:
        """Who was measured, if there are several."""
        return self.case.get("peer", self.case.get("contestant"))

    @property
    def ours(self) -> bool:
        """Whether it is of this product, and not of a peer."""
        return (self.peer or "ours").startswith("ours")

    @property
    def row(self) -> Row:
        """Case and values in one."""
        return self.case | self.values

    def __str__(self) -> str:
        case = ", ".join(f"{name} {value}" for name, value in self.case.items())
        return f"{self.benchmark}: {case}"


def results_of(
    benchmark: str, case: Sequence[str], rows: Sequence[Row], where: Mapping[str, object]
) -> list[Result]:
    """Rows in the form of files.

    Args:
        benchmark: Its name.
        case: The columns that say what was measured.
        rows: Cases and values.
        where: What all of them have in common.
    """
    return [
        Result(
            benchmark,
            {name: row[name] for name in case if name in row},
            {name: value for name, value in row.items() if name not in case},
            dict(where),
        )
        for row in rows
    ]


def write_results(path: Path, results: Sequence[Result]) -> None:
    """All results so far: they are there if the run is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(result)) + "\n" for result in results))


def read_all(folder: Path) -> list[Result]:
    """The results of all files of a folder."""
    return [result for file in sorted(folder.glob("*.jsonl")) for result in read_results(file)]


def read_results(path: Path) -> list[Result]:
    """The results of a file.

    Raises:
        UserError: It cannot be read, or is none of these.
    """
    try:
        return [Result(**json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: holds no results of these benchmarks ({error})") from None
