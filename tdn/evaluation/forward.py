"""The network over a loader's clips, as validation and evaluation do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tdn.training.precision import Precision

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch, Loader


@torch.inference_mode()
def predict(
    model: nn.Module,
    loader: Loader,
    precision: Precision,
    device: torch.device,
    bar: str | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """Every batch of the loader with its logits.

    The model is put into evaluation mode and left there. No communication takes place, so that
    processes may have different numbers of batches.

    Args:
        model: The network, on the device.
        loader: Validation clips.
        precision: What the network computes in.
        device: Where.
        bar: What to call a progress bar; None for no bar.

    Yields:
        The batch, and its logits: (B, classes), float32, on the device.
    """
    model.eval()
    bar_settings = {"desc": bar, "unit": "step", "leave": False, "dynamic_ncols": True}
    for batch in tqdm(loader, disable=bar is None, **bar_settings):
        with precision.autocast():
            logits = model(batch.clips.to(device, non_blocking=True))
        yield batch, logits.float()
