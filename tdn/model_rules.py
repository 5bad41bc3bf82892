"""Rules of a network's settings: what they may be, and what holds where they say nothing.

One answer for a file, an option and Python, and for every backbone. Nothing here waits for torch,
so that a configuration is refused at once.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tdn.config import Config, ModelConfig, TemporalConfig
from tdn.errors import UserError
from tdn.rules import Rule, check_rules, is_number, is_whole

_log = logging.getLogger("tdn")


@dataclass(frozen=True)
class Ideas:
    """Which of TDN's ideas a network has; none of them is the frame-only baseline."""

    short_term: bool
    """S-TDM beside the stem and stage 1."""
    long_term: bool
    """L-TDM in the blocks of stages 2 to 4."""
    temporal_conv: bool
    """Temporal conv in the same blocks."""


def _is_count(value: Any) -> bool:
    return is_whole(value) and value >= 1


def _is_pair_of_weights(value: Any) -> bool:
    if value is None:
        return True
    finite = [is_number(weight) and math.isfinite(weight) for weight in value]
    return isinstance(value, Sequence) and finite == [True, True]


def _are_stages(value: Any) -> bool:
    return len(value) > 0 and all(is_whole(stage) and 1 <= stage <= 4 for stage in value)


def _choices() -> list[Rule]:
    """Rules of the temporal details that are one of some words: those that their types list."""
    hints = get_type_hints(TemporalConfig)
    words = {key: get_args(hint) for key, hint in hints.items() if get_origin(hint) is Literal}
    return [
        Rule(f"model.temporal.{key}", known.__contains__, "one of " + ", ".join(known))
        for key, known in words.items()
    ]


MODEL_RULES = (
    Rule("model.num_segments", _is_count, "a whole number from 1"),
    Rule("model.num_classes", _is_count, "the number of classes, a whole number from 1"),
    Rule("model.dropout", lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    Rule("model.temporal", lambda v: isinstance(v, TemporalConfig), "a TemporalConfig"),
    *_choices(),
    Rule(
        "model.temporal.fusion_weights",
        _is_pair_of_weights,
        "two finite numbers such as [0.5, 0.5]",
    ),
    Rule("model.temporal.stages", _are_stages, "some of the stages 1 to 4, such as [2, 3, 4]"),
)
"""What every network's settings must be."""


def check_model(network: str, ideas: Ideas, settings: ModelConfig) -> TemporalConfig:
    """Refuse settings that make no network, and those that this one has no use for.

    Where they leave S-TDM's fusion weights open and the published rule gives other than those
    of 8 segments, a warning says so, once.

    Args:
        network: what to call it in messages.
        ideas: what it has beyond its backbone.
        settings: its name, width and files are not looked at.

    Returns:
        The details of its temporal modules; stages in order, each once.

    Raises:
        UserError: Names the key, the value and the remedy.
    """
    check_rules(MODEL_RULES, Config(model=settings))
    temporal = settings.temporal
    weights = temporal.fusion_weights
    temporal = dataclasses.replace(
        temporal,
        fusion_weights=None if weights is None else (float(weights[0]), float(weights[1])),
        stages=tuple(sorted({int(stage) for stage in temporal.stages})),
    )
    _check_use(temporal, network, ideas)
    if ideas.short_term and weights is None and settings.num_segments != 8:
        _warn_of_fusion_weights(settings.num_segments)
    return temporal


def _check_use(temporal: TemporalConfig, network: str, ideas: Ideas) -> None:
    """Refuse details of modules that the network does not have."""
    published = TemporalConfig()
    owners = {
        "fusions": ("S-TDM", ideas.short_term),
        "fusion_weights": ("S-TDM", ideas.short_term),
        "directions": ("L-TDM", ideas.long_term),
        "branches": ("L-TDM", ideas.long_term),
        "stages": ("L-TDM", ideas.long_term),
    }
    for key, (module, present) in owners.items():
        if not present and getattr(temporal, key) != getattr(published, key):
            raise UserError(
                f"model.temporal.{key} is set, but {network} has no {module}; "
                "drop the key or choose a network that has one"
            )


def published_fusion_weights(num_segments: int) -> tuple[float, float]:
    """Those of [frame, differences]: even for 8 segments, else in favour of the frame."""
    return (0.5, 0.5) if num_segments == 8 else (0.75, 0.25)


@functools.cache
def _warn_of_fusion_weights(num_segments: int) -> None:
    """Say once which rule holds, as it changes the network between 8 and other segments."""
    a, b = published_fusion_weights(num_segments)
    _log.warning(
        "model.num_segments %d: S-TDM's fusions weigh frame and differences %g and %g, the "
        "released code's rule for all but 8 segments; model.temporal.fusion_weights changes it",
        num_segments,
        a,
        b,
    )
