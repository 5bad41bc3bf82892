"""What a network sees in a video, with and without its temporal modules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.config import Config, TemporalConfig
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.network import Network
from tdn.prediction.clips import centre_clip
from tdn.trained import Trained, create_network, load_trained
from tdn.visualization.cam import ActivationMap, activation_map, temporal_responses
from tdn.visualization.cam_sheet import Heat


class Explanation(NamedTuple):
    """What there is to draw."""

    frames: npt.NDArray[np.uint8]
    """(T, 5, H, W, 3) RGB, as the network is fed them."""
    seconds: npt.NDArray[np.float64]
    """(T, 5) when they are shown in the video."""
    maps: tuple[Heat, ...]
    """The frames alone, and where the networks find the class."""
    responses: tuple[Heat, ...]
    """Of the temporal modules."""


class Explainer:
    """A network and what it is compared with, on their device, ready for videos.

    Args:
        checkpoint: One of ours, or a published one.
        config: The network's; by default the checkpoint's own.
        baseline: A checkpoint of a network without temporal modules to compare with, one of ours;
            by default the same weights are run without these modules.
        raw: Take the weights of the last step even where a checkpoint has averaged ones.
        classes: File with a class name per line; empty takes the checkpoint's own names.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: A checkpoint cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: Config | None = None,
        *,
        baseline: str | Path | None = None,
        raw: bool = False,
        classes: str | Path = "",
        device: str = "auto",
    ) -> None:
        self._device = resolve_device(device)
        trained = load_trained(checkpoint, config, raw=raw, classes=classes)
        compared_with = _compared_with(trained, baseline, raw)
        self.classes = trained.classes
        """Names of the labels 0, 1, ..."""
        self._config = trained.config
        self._model = trained.model.to(self._device)
        self._others = [(title, other.to(self._device)) for title, other in compared_with]

    def __call__(self, video: str, label: int | None = None, layer: str = "stage4") -> Explanation:
        """Look into the network, for one video.

        Args:
            video: A file, or a folder of frames.
            label: The class to explain; by default the most probable one.
            layer: Of ``cam.LAYERS``.

        Raises:
            UserError: The video cannot be read, or there is no such class.
        """
        if label is not None and not 0 <= label < len(self.classes):
            raise UserError(
                f"class {label} does not fit, the network has {len(self.classes)}; give a number "
                f"from 0 to {len(self.classes) - 1}"
            )
        clip = centre_clip(video, self._config, self._device)
        found = activation_map(self._model, clip.clip, label, layer)
        maps = [
            Heat("what the network is fed", None),
            self._heat(self._config.model.name, found),
        ]
        for title, other in self._others:
            maps.append(self._heat(title, activation_map(other, clip.clip, found.label, layer)))
        responses = temporal_responses(self._model, clip.clip)
        return Explanation(
            clip.clip[0].cpu().numpy(),
            clip.seconds,
            tuple(maps),
            tuple(Heat(title, heat) for title, heat in responses.items()),
        )

    def _heat(self, title: str, found: ActivationMap) -> Heat:
        told = f"{title}: {self.classes[found.label]}, {100 * found.probability:.1f} %"
        return Heat(told, found.heat)


def _compared_with(
    trained: Trained, baseline: str | Path | None, raw: bool
) -> Iterator[tuple[str, Network]]:
    """The network without temporal modules, and what to call it; none for one that has none."""
    if baseline is not None:
        yield f"{Path(*Path(baseline).parts[-3:])}", _baseline(trained, baseline, raw)
    elif not trained.config.model.name.startswith("tsn_"):
        yield "without its temporal modules", _without_temporal_modules(trained)


def _without_temporal_modules(trained: Trained) -> Network:
    """The frame-only network with the same weights."""
    settings = trained.config.model
    name = f"tsn_{settings.name.split('_', 1)[1]}"
    plain = create_network(dataclasses.replace(settings, name=name, temporal=TemporalConfig()))
    weights = trained.model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    return plain.eval()


def _baseline(trained: Trained, checkpoint: str | Path, raw: bool) -> Network:
    other = load_trained(checkpoint, raw=raw)
    ours, theirs = trained.config.model, other.config.model
    for key in ("num_segments", "num_classes"):
        if getattr(ours, key) != getattr(theirs, key):
            raise UserError(
                f"{checkpoint}: its {key} is {getattr(theirs, key)}, the network's "
                f"{getattr(ours, key)}; give a baseline of the same data set and segments"
            )
    return other.model
