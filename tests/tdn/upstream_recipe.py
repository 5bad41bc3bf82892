"""The open parity case: weights and clips from a recipe, results measured from the released code.

Every tensor is filled from its key and its shape, so that a case needs no file of weights.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parents[1] / "data" / "parity"
CASE = "r50_t8_112_b2"
SEED, CLIPS, SEGMENTS, SIZE, CLASSES = 2028, 2, 8, 112, 174


def inventory() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a released checkpoint (ResNet-50, 174 classes), in its order."""
    listed = json.loads((DATA / "inventory-r50.json").read_text())
    return {key: tuple(shape) for key, (shape, _) in listed.items()}


def expected_logits() -> dict[str, Tensor]:
    """The released code's results: logits_f32, logits_f64 and segment_logits_f64."""
    with np.load(DATA / f"{CASE}.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def expected_activations() -> dict[str, dict]:
    """Statistics and samples of the released code's activations at 14 points, by name."""
    return json.loads((DATA / f"{CASE}_activations.json").read_text())["activations"]


def filled_state() -> dict[str, Tensor]:
    """The state dict of the parity case under the released code's keys."""
    return {key: filled(key, shape) for key, shape in inventory().items()}


def filled(key: str, shape: tuple[int, ...]) -> Tensor:
    """The value of one tensor."""
    key = key.removeprefix("module.")
    if key.endswith(".num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    random = np.random.RandomState(zlib.crc32(key.encode()))
    long_term = ".mse." in key
    if key.endswith((".running_mean", ".bias")):
        values = 0.1 * random.standard_normal(shape)
    elif len(shape) == 1:  # a running variance, or the weight of a batch norm
        values = 0.5 + random.random_sample(shape)
        if key.endswith(".bn3.weight"):
            values *= 0.5 if long_term else 0.15
    else:
        gain = {2: 4.0, 3: 1.0, 4: 1.0 if long_term else 2.0}[len(shape)]
        values = random.standard_normal(shape) * math.sqrt(gain / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def clips(seed: int = SEED, n: int = CLIPS, t: int = SEGMENTS, size: int = SIZE) -> Tensor:
    """Normalised clips (n, t, 5, 3, size, size): colours that change over scenes and frames."""
    random = np.random.RandomState(seed)
    grid = size // 16
    result = np.empty((n, t, 5, 3, size, size), np.float32)
    for clip in result:
        colour = random.standard_normal((3,))
        scene = random.standard_normal((3, grid, grid))
        segment = random.standard_normal((t, 3, grid, grid))
        frame = random.standard_normal((t, 5, 3, grid, grid))
        noise = random.standard_normal((t, 5, 3, size, size))
        coarse = 1.2 * colour[:, None, None] + 0.5 * scene + 0.5 * segment[:, None] + 0.4 * frame
        clip[:] = coarse.repeat(16, axis=-2).repeat(16, axis=-1) + 0.1 * noise
    return torch.from_numpy(result)
