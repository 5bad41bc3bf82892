"""All randomness as a pure function of (seed, epoch, position in the epoch).

Philox is a counter-based generator: key and counter name a stream, nothing is carried from one
draw to the next. So any clip can be made again from three integers, the global order does not
depend on how many processes share it, and resuming needs a position, not a generator's state.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for; different purposes never share draws."""

    ORDER = 0
    CLIP = 1
    SUBSTITUTE = 2
    TEST_CLIP = 3
    COLOR = 4
    ERASING = 5
    MIXING = 6


def generator(seed: int, epoch: int, position: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one purpose at one position (from 0) of one epoch (from 0)."""
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, position, purpose], np.uint64)  # the first two words count the draws
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
