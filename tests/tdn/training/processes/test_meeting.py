from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import torch.distributed as dist

from tdn.training.processes.meeting import meet


def all_meet(store: dist.Store, processes: int) -> list[dist.PrefixStore]:
    with ThreadPoolExecutor(processes) as pool:
        found = [pool.submit(meet, store, rank, processes) for rank in range(processes)]
    return [place.result() for place in found]


def test_every_start_has_a_place_of_its_own_that_all_its_processes_share():
    """Other numbers of processes too, and after one of which a process never came."""
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    store.set("tdn hello 1", "of a process that was killed")
    for processes in (2, 4, 1, 4):
        places = all_meet(store, processes)
        assert not places[-1].check(["address"])
        places[0].set("address", str(processes))
        assert {place.get("address") for place in places} == {str(processes).encode()}
