"""Finding pictures in a picture."""

from __future__ import annotations

import numpy as np


def places(sheet: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    """Every y, x at which `sheet` shows `part`, pixel by pixel."""
    height, width = part.shape[:2]
    corners = sheet[: sheet.shape[0] - height + 1, : sheet.shape[1] - width + 1]
    rows, columns = np.nonzero((corners == part[0, 0]).all(-1))
    for y in range(0, height, 5):  # some of the pixels leave few places to look at in full
        for x in range(0, width, 5):
            same = (sheet[rows + y, columns + x] == part[y, x]).all(-1)
            rows, columns = rows[same], columns[same]
    return [
        (y, x)
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True)
        if np.array_equal(sheet[y : y + height, x : x + width], part)
    ]
