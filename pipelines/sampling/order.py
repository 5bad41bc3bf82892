"""The order of an epoch: a pure function of the seed and the epoch, the same on every process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdn.pipelines.sampling.randomness import Purpose, generator


def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int32]:
    """A permutation of range(count), at random."""
    order = np.arange(count, dtype=np.int32)
    generator(seed, epoch, 0, Purpose.ORDER).shuffle(order)
    return order


def shard_order(
    bounds: npt.NDArray[np.int64], together: int, seed: int, epoch: int
) -> npt.NDArray[np.int32]:
    """A permutation that keeps to a few tar shards at a time, so that they are read whole.

    The shards are shuffled; then the clips of each few that follow each other, among themselves.

    Args:
        bounds: (shards + 1,) positions where each shard's clips start, and the end.
        together: How many shards are read side by side.
        seed: The run's.
        epoch: From 0.

    Returns:
        A permutation of range(bounds[-1]).
    """
    rng = generator(seed, epoch, 0, Purpose.ORDER)
    shards = rng.permutation(len(bounds) - 1)
    order = np.empty(bounds[-1], np.int32)
    filled = 0
    for first in range(0, len(shards), together):
        few = [np.arange(bounds[s], bounds[s + 1]) for s in shards[first : first + together]]
        clips = np.concatenate(few).astype(np.int32)
        rng.shuffle(clips)
        order[filled : filled + len(clips)] = clips
        filled += len(clips)
    return order
