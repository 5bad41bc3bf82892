"""The network over a loader's clips, as validation and evaluation do it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tdn.errors import UserError
from tdn.training.precision import Precision

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch

_log = logging.getLogger(__name__)


class Batches(Protocol):
    """What there is of a loader here."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


@torch.inference_mode()
def predict(
    model: nn.Module,
    loader: Batches,
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
    forward = _FittingForward(model)
    bar_settings = {"desc": bar, "unit": "step", "leave": False, "dynamic_ncols": True}
    for batch in tqdm(loader, disable=bar is None, **bar_settings):
        with precision.autocast():
            logits = forward(batch.clips.to(device, non_blocking=True))
        yield batch, logits.float()


class _FittingForward:
    """Runs a network on as many clips at a time as the device's memory takes."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._most: int | None = None
        """Clips that fit; None as long as all did."""

    def __call__(self, clips: Tensor) -> Tensor:
        """The logits of (B, T, 5, H, W, 3) clips.

        Raises:
            UserError: Not even one clip fits.
        """
        while True:
            parts = clips.split(self._most or len(clips))
            try:
                return torch.cat([self._model(part) for part in parts])
            except torch.OutOfMemoryError:
                if len(parts[0]) == 1:
                    raise UserError(
                        "evaluation: the device's memory takes not even one clip; choose fewer "
                        "segments or a smaller evaluation.crop_size"
                    ) from None
                self._most = (len(parts[0]) + 1) // 2
                _log.info("the device's memory takes %d clips at a time", self._most)
                torch.cuda.empty_cache()
