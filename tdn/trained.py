"""A trained network as its checkpoint tells it: ours also hold the configuration and the classes.

What has to do with using a network rather than training it (testing, predicting, looking into it,
exporting) starts here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentError

import tdn
from tdn.checkpoint import LoadReport, read_content
from tdn.config import Config, ModelConfig
from tdn.config_loading import check_config, reading_parser
from tdn.errors import UserError
from tdn.network import Network
from tdn.pipelines.sources.listing import read_class_names


class Trained(NamedTuple):
    """A network with the weights that training gave it."""

    model: Network
    """On the CPU, in evaluation mode."""
    config: Config
    """The run's, or the one that was given."""
    classes: tuple[str, ...]
    """Names of the labels 0, 1, ...; the labels themselves where nothing names them."""
    report: LoadReport


def load_trained(
    checkpoint: str | Path,
    config: Config | None = None,
    *,
    raw: bool = False,
    classes: str | Path = "",
) -> Trained:
    """A network from its checkpoint alone, or from a checkpoint and its configuration.

    Args:
        checkpoint: One of ours, which holds its configuration, or a published one.
        config: The network's; needed for a published checkpoint.
        raw: Take the weights of the last step even where the checkpoint has averaged ones.
        classes: File with a class name per line; empty takes the checkpoint's own names.

    Raises:
        UserError: The file is no checkpoint, needs a configuration, or does not fit it.
    """
    config = config or recorded_config(checkpoint)
    model, report = trained_network(config.model, checkpoint, raw=raw)
    return Trained(model.eval(), config, _class_names(config, report, classes), report)


def trained_network(
    settings: ModelConfig, checkpoint: str | Path, *, raw: bool = False
) -> tuple[Network, LoadReport]:
    """The configured network with all its weights from a checkpoint.

    Raises:
        UserError: The file does not fit the network, or does not set all of it.
    """
    model = create_network(settings)
    report = tdn.load_checkpoint(model, checkpoint, raw=raw)
    if report.left_initial:
        raise UserError(
            f"{checkpoint}: {report.format}, which does not set {report.left_initial[0]}; "
            "train from it with model.pretrained, and use the result"
        )
    return model, report


def create_network(settings: ModelConfig) -> Network:
    """The configured network with random weights."""
    return tdn.create_model(
        settings.name,
        num_segments=settings.num_segments,
        num_classes=settings.num_classes,
        dropout=settings.dropout,
        width=settings.width,
        partial_bn=settings.partial_bn,
        temporal=settings.temporal,
    )


def recorded_config(checkpoint: str | Path) -> Config:
    """The configuration that a checkpoint of a run holds.

    Keys that this version does not know are left out; what a run is trained with may grow.

    Raises:
        UserError: It holds none.
    """
    content = read_content(Path(checkpoint))
    tree = content.get("config") if isinstance(content, dict) else None
    if not isinstance(tree, dict):
        raise UserError(
            f"{checkpoint}: holds no configuration, as checkpoints of other programs; give the "
            "network's with --config"
        )
    parser = reading_parser()
    try:
        values = vars(parser.instantiate(parser.parse_object(_known(tree, Config))))
    except ArgumentError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{checkpoint}: its configuration is not understood ({reason}); give one with --config"
        ) from None
    values.pop("config")
    config = Config(**values)
    check_config(config)
    return config


def _known(tree: dict[str, Any], section: Any) -> dict[str, Any]:
    """The keys of a section that this version has."""
    known = {field.name: field.default_factory for field in dataclasses.fields(section)}
    return {
        key: _known(value, known[key]) if dataclasses.is_dataclass(known[key]) else value
        for key, value in tree.items()
        if key in known
    }


def _class_names(config: Config, report: LoadReport, file: str | Path) -> tuple[str, ...]:
    count = config.model.num_classes
    if not file:
        return report.classes or tuple(str(label) for label in range(count))
    names: Sequence[str] = read_class_names(file)
    if len(names) != count:
        raise UserError(
            f"{file}: names {len(names)} classes, but the network has {count}; give a name on "
            "each line, in order of label"
        )
    return tuple(names)
