from __future__ import annotations

import numpy as np
from PIL import Image

from tdn.demo.contact_sheet import Cell, save_contact_sheet

GREEN, RED = (46, 160, 67), (207, 34, 46)


def test_every_clip_is_drawn_and_predictions_are_coloured(tmp_path):
    def cell(level: int, predicted: str) -> Cell:
        return Cell(np.full((8, 20, 30, 3), level, np.uint8), "left", [("TDN", predicted)])

    save_contact_sheet([cell(60, "left"), cell(90, "right"), cell(120, "left")], tmp_path / "s.png")
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    areas = {level: (sheet == level).all(-1).sum() for level in (60, 90, 120)}
    assert len(set(areas.values())) == 1
    assert areas[60] >= 6 * 20 * 30
    right = sheet[: sheet.shape[0] // 2, : sheet.shape[1] // 2].reshape(-1, 3).tolist()
    wrong = sheet[: sheet.shape[0] // 2, sheet.shape[1] // 2 :].reshape(-1, 3).tolist()
    assert list(GREEN) in right
    assert list(RED) not in right
    assert list(RED) in wrong
    assert list(GREEN) not in wrong
