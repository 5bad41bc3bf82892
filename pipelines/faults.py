"""Which file a failed batch failed for: DALI's errors mostly do not name it."""

from __future__ import annotations

from typing import Any

import torch

from tdn.pipelines.augmentation import Size
from tdn.pipelines.decoders import decoded_by_dali
from tdn.pipelines.graph import build_graph, graph_inputs
from tdn.pipelines.plans import View


def find_undecodable(
    views: list[View], target: Size, device: torch.device
) -> list[tuple[View, str]]:
    """Decode views one by one in the same graph; those that fail, with DALI's reason."""
    candidates = [view for view in views if decoded_by_dali(view.clip, device.type == "cuda")]
    causes = [(view, _failure(view, target, device)) for view in candidates]
    return [(view, cause) for view, cause in causes if cause]


def _failure(view: View, target: Size, device: torch.device) -> str:
    """Why a view cannot be decoded, "" if it can."""

    def source(info: Any) -> Any:
        if info.iteration:
            raise StopIteration
        return [[value] for value in graph_inputs(view, None)]

    pipeline = build_graph(
        source,
        target=target,
        batch_size=1,
        num_threads=1,
        prefetch=1,
        device_id=device.index if device.type == "cuda" else None,
    )
    try:
        pipeline.run()
    except RuntimeError as error:
        return dali_reason(error)
    return ""


def dali_reason(error: BaseException) -> str:
    """What went wrong, out of DALI's page of context and call stack."""
    text = str(error)
    reason = text.rsplit("encountered:", 1)[-1].split("C++ context", 1)[0]
    return " ".join(reason.split()) or type(error).__name__
