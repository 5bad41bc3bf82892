"""How busy a GPU's engines are: its decoders of video and of JPEG, which bound what DALI can do."""

from __future__ import annotations

import statistics
import subprocess

ENGINES = ("decoder", "jpeg", "gpu")
"""As nvidia-smi calls them: NVDEC, NVJPG, and what runs kernels."""
_EVERY = 100
"""Milliseconds."""


class EngineLoad:
    """Watches the first GPU while the context lasts.

    Args:
        device: "cpu" or "cuda"; there is nothing to watch on a CPU.
    """

    def __init__(self, device: str) -> None:
        self.percent: dict[str, float] = {}
        """Of the time, by engine; empty where nvidia-smi does not say."""
        self._device = device
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> EngineLoad:
        if self._device == "cuda":
            query = ",".join(f"utilization.{engine}" for engine in ENGINES)
            form = "csv,noheader,nounits"
            command = ["nvidia-smi", f"--query-gpu={query}", f"--format={form}", "-i", "0"]
            self._process = subprocess.Popen(
                [*command, f"-lms={_EVERY}"], stdout=subprocess.PIPE, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        self.percent = parse(self._process.communicate()[0])


def parse(text: str) -> dict[str, float]:
    """The mean of each engine over the lines that nvidia-smi has printed."""
    lines = [line.split(",") for line in text.splitlines()]
    samples = [[float(cell) for cell in line] for line in lines if _is_sample(line)]
    columns = zip(*samples, strict=True)
    return {e: statistics.mean(column) for e, column in zip(ENGINES, columns, strict=False)}


def _is_sample(cells: list[str]) -> bool:
    return len(cells) == len(ENGINES) and all(cell.strip().isdigit() for cell in cells)
