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
    speed = {"clips_per_second": 4.0, "clips_per_second_each": 2.0, "data_wait": 3.0}
    return event | speed | {"memory": 1.5, "eta": 60.0} | values


def start_event(step: int = 0, **values: object) -> dict:
    event = {"event": "start", "time": 1.5 * step, "step": step, "epoch": 1, "epochs": 3}
    sizes = {"steps_per_epoch": 5, "global_batch": 8, "world_size": 1, "parameters": 7}
    names = {"model": "tiny", "classes": 9, "precision": "fp32", "device": "CPU", "output": "run"}
    more = {"optimizer": "sgd", "optimizer_backend": "torch", "lr": 0.1, "base_batch": 0}
    rest = {"multipliers": {}, "resumed_from": None, "pretrained": None}
    return event | sizes | names | more | rest | values


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]
