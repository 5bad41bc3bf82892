"""A place in the rendezvous' store that only the processes of this start know.

torch's processes find each other's addresses in a store that ``torchrun`` keeps, with whatever is
in it, when it starts them again, be it after a failure or because a machine came or went (torch
2.13). Without this they would find the addresses of their dead predecessors there.
"""

from __future__ import annotations

import time
import uuid

import torch.distributed as dist

_POLL = 0.02


def meet(store: dist.Store, rank: int, world_size: int) -> dist.PrefixStore:
    """A part of the store that is new, the same for all; all must call it.

    Everyone says hello by a word that was never used; the first process answers each with the name
    of the place. To a hello that a predecessor left it answers too, and nobody comes.

    Args:
        store: What the rendezvous gave.
        rank: This process.
        world_size: Number of processes.
    """
    word = uuid.uuid4().hex
    if rank == 0:
        for other in range(1, world_size):
            _welcome(store, other, word)
        return dist.PrefixStore(word, store)
    store.set(f"tdn hello {rank}", word)
    name = store.get(f"tdn welcome {word}").decode()
    store.set(f"tdn here {name} {rank}", "")
    return dist.PrefixStore(name, store)


def _welcome(store: dist.Store, rank: int, name: str) -> None:
    while not store.check([f"tdn here {name} {rank}"]):
        word = store.get(f"tdn hello {rank}").decode()
        store.set(f"tdn welcome {word}", name)
        time.sleep(_POLL)
