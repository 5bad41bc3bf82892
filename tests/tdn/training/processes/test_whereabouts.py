from __future__ import annotations

import time

import pytest
import torch

from tdn.config import TrainingConfig
from tdn.training.processes import distributed
from tdn.training.processes.whereabouts import NvtxRanges, Whereabouts


@pytest.fixture
def nvtx(monkeypatch) -> list[str | None]:
    """The ranges that were begun, in order, and None for each end."""
    calls: list[str | None] = []
    monkeypatch.setattr(torch.cuda.nvtx, "range_push", calls.append)
    monkeypatch.setattr(torch.cuda.nvtx, "range_pop", lambda: calls.append(None))
    return calls


def test_the_last_note_is_where_the_process_stands(monkeypatch):
    now = 5.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    whereabouts = Whereabouts()
    whereabouts.note("data", step=7)
    now = 6.0
    whereabouts.note("forward")
    assert whereabouts.now == (7, "forward", 6.0)


def test_every_phase_is_a_range_of_its_own(nvtx):
    whereabouts = Whereabouts(NvtxRanges())
    for phase in ("data", "forward", "forward"):
        whereabouts.note(phase)
    assert nvtx == ["data", None, "forward", None, "forward"]


@pytest.mark.parametrize(("device", "ranges"), [("cpu", 0), ("cuda", 1)])
def test_ranges_are_for_a_gpu(monkeypatch, nvtx, device, ranges):
    monkeypatch.setattr(distributed, "resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    with distributed.open_processes(TrainingConfig(device=device)) as processes:
        processes.whereabouts.note("forward")
    assert len(nvtx) == ranges
