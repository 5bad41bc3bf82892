"""How far and how fast a run is: what the steps since the last line of the log came to."""

from __future__ import annotations

from pathlib import Path

import torch

from tdn.training.clock import StepClock
from tdn.training.metrics import Tally
from tdn.training.processes.distributed import Processes
from tdn.training.reporting.sinks import Event

GB = 1e9


class Progress:
    """Measures steps until it is read.

    Times and speed are those of this session; the clips may have been counted in a former one.

    Args:
        processes: Those of the run.
        global_batch: Clips a step, of all processes.
        steps: Steps of the whole run.
    """

    def __init__(self, processes: Processes, global_batch: int, steps: int) -> None:
        self.tally = Tally(processes.device)
        self.clock = StepClock(processes.device)
        self._processes = processes
        self._global_batch = global_batch
        self._steps = steps
        self._since = 0

    def restart_clock(self, step: int) -> None:
        """Measure time from here on, after so many finished steps of the run."""
        self.clock.restart()
        self._since = step

    def read(self, step: int) -> Event:
        """What a train event tells of the steps up to this one; all processes must call this.

        This waits for the device, and begins anew.
        """
        summary = self.tally.read(self._processes)
        steps = step - self._since
        seconds, waited = self.clock.read()
        self.restart_clock(step)
        found = self._processes.gather((waited, memory_in_use(self._processes.device)))
        waits, memory = zip(*found, strict=True)
        clips_per_second = steps * self._global_batch / seconds
        return {
            "loss": summary.loss,
            "top1": summary.top1,
            "clips": summary.clips,
            "clips_per_second": clips_per_second,
            "clips_per_second_each": clips_per_second / self._processes.world_size,
            "data_wait": 100 * max(waits),
            "memory": max(memory) / GB,
            "eta": (self._steps - step) * seconds / steps,
        }


def memory_in_use(device: torch.device) -> int:
    """The most so far, in bytes: of the GPU's by torch, not by DALI; or of the host's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024
