"""What processes do together, by one that is alone; two are in test_distributed."""

from __future__ import annotations

import torch

from tdn.config import TrainingConfig
from tdn.training.processes.distributed import open_processes


def test_alone_nothing_travels():
    with open_processes(TrainingConfig(device="cpu")) as processes:
        assert (processes.rank, processes.world_size) == (0, 1)
        assert not torch.distributed.is_initialized()
        assert processes.gather("value") == processes.gather_to_main("value") == ["value"]
        assert processes.sum(torch.tensor(3.0)) == 3
        assert [processes.any(flag) for flag in (True, False)] == [True, False]


def test_torch_gets_the_threads_that_are_configured():
    before = torch.get_num_threads()
    try:
        with open_processes(TrainingConfig(device="cpu", cpu_threads=3)):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
