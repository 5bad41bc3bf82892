"""Finding pictures in a picture."""

from __future__ import annotations

import numpy as np


def places(sheet: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """Every y, x at which `sheet` shows `part`, pixel by pixel."""
    height, width = part.shape[:2]
    corners = sheet[: sheet.shape[0] - height + 1, : sheet.shape[1] - width + 1]
    candidates = np.argwhere((corners == part[0, 0]).all(-1)).tolist()
    return [
        (y, x) for y, x in candidates if np.array_equal(sheet[y : y + height, x : x + width], part)
    ]
