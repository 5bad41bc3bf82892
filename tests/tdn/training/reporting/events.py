from __future__ import annotations

import json
from pathlib import Path


def train_event(step: int, **values: object) -> dict:
    event = {
        "event": "train",
        "time": 1.5 * step,
        "step": step,
        "epoch": 1,
        "loss": 1.0,
        "top1": 50.0,
        "clips": 8,
    }
    return event | {"clips_per_second": 4.0, "data_wait": 3.0, "eta": 60.0} | values


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]
