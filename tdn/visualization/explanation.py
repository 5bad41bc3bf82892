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
from tdn.visualization.cam import activation_map, temporal_responses
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


def explain(
    video: str,
    checkpoint: str | Path,
    config: Config | None = None,
    *,
    baseline: str | Path | None = None,
    label: str | None = None,
    layer: str = "stage4",
    classes: str | Path = "",
    device: str = "auto",
) -> Explanation:
    """Look into a network, for one video.

    Args:
        video: A file, or a folder of frames.
        checkpoint: One of ours, or a published one.
        config: The network's; by default the checkpoint's own.
        baseline: A checkpoint of a network without temporal modules to compare with, one of ours;
            by default the same weights are run without these modules.
        label: The class to explain, by name or number; by default the most probable one.
        layer: Of ``cam.LAYERS``.
        classes: File with a class name per line; empty takes the checkpoint's own names.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: The video or a checkpoint cannot be used, or there is no such class.
    """
    place = resolve_device(device)
    trained = load_trained(checkpoint, config, classes=classes)
    compared_with = list(_compared_with(trained, baseline))
    chosen = None if label is None else _label(label, trained.classes)
    clip = centre_clip(video, trained.config, place)
    model = trained.model.to(place)
    found = activation_map(model, clip.clip, chosen, layer)
    name = trained.classes[found.label]
    maps = [
        Heat("what the network is fed", None),
        Heat(f"{trained.config.model.name}: {name}, {100 * found.probability:.1f} %", found.heat),
    ]
    for title, other in compared_with:
        compared = activation_map(other.to(place), clip.clip, found.label, layer)
        maps.append(Heat(f"{title}: {name}, {100 * compared.probability:.1f} %", compared.heat))
    responses = temporal_responses(model, clip.clip)
    return Explanation(
        clip.clip[0].cpu().numpy(),
        clip.seconds,
        tuple(maps),
        tuple(Heat(title, heat) for title, heat in responses.items()),
    )


def _compared_with(trained: Trained, baseline: str | Path | None) -> Iterator[tuple[str, Network]]:
    """The network without temporal modules, and what to call it; none for one that has none."""
    if baseline is not None:
        yield f"{Path(*Path(baseline).parts[-3:])}", _baseline(trained, baseline)
    elif not trained.config.model.name.startswith("tsn_"):
        yield "without its temporal modules", _without_temporal_modules(trained)


def _label(given: str, classes: tuple[str, ...]) -> int:
    if given in classes:
        return classes.index(given)
    if given.isdigit() and int(given) < len(classes):
        return int(given)
    raise UserError(
        f"--label: '{given}' does not fit; give one of the {len(classes)} class names, or a number "
        f"from 0 to {len(classes) - 1}"
    )


def _without_temporal_modules(trained: Trained) -> Network:
    """The frame-only network with the same weights."""
    settings = trained.config.model
    name = f"tsn_{settings.name.split('_', 1)[1]}"
    plain = create_network(dataclasses.replace(settings, name=name, temporal=TemporalConfig()))
    weights = trained.model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    return plain.eval()


def _baseline(trained: Trained, checkpoint: str | Path) -> Network:
    other = load_trained(checkpoint)
    ours, theirs = trained.config.model, other.config.model
    for key in ("num_segments", "num_classes"):
        if getattr(ours, key) != getattr(theirs, key):
            raise UserError(
                f"{checkpoint}: its {key} is {getattr(theirs, key)}, the network's "
                f"{getattr(ours, key)}; give a baseline of the same data set and segments"
            )
    return other.model
