"""What can be measured with the data and the checkpoints that are there, and what is lacking."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.pipelines.datasets.official import DATA_SETS
from tdn.pipelines.datasets.preparing import prepare
from tdn.provenance import sha256
from tdn.verification.claims import Claims, Network

_log = logging.getLogger(__name__)

_ENDINGS = (".pt", ".pth", ".tar", ".pth.tar")


@dataclass(frozen=True)
class Sources:
    """What the user has."""

    data: Mapping[str, str] = field(default_factory=dict)
    """Folder of each data set."""
    folder: Path = Path("checkpoints")
    """Checkpoints that are called by their recipe: ``ssv1_r50_8f.pt``, .pth, .tar or .pth.tar."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Checkpoints of other names, by recipe."""


@dataclass(frozen=True)
class Plan:
    """How a network is to be evaluated, or why not."""

    network: Network
    config: Config | None = None
    """None if it cannot be."""
    checkpoint: Path | None = None
    checksum: str = ""
    """SHA-256 of the checkpoint."""
    lacking: tuple[str, ...] = ()
    """What is not there; nothing is wrong with what is."""
    problem: str = ""
    """What is wrong."""

    @property
    def ready(self) -> bool:
        """Whether it can be evaluated."""
        return self.config is not None


def plan(claims: Claims, sources: Sources, output: Path, settings: Sequence[str]) -> list[Plan]:
    """Find out what can be measured. Lists of data sets that have none yet are made.

    Args:
        claims: The claims.
        sources: What is there.
        output: Folder for the evaluations.
        settings: Overrides of the recipes.

    Raises:
        UserError: Data or checkpoints are given for what no claim is about.
    """
    _check_names("--data", sources.data, {network.data for network in claims.networks})
    _check_names("--checkpoint", sources.files, {network.recipe for network in claims.networks})
    return [_planned(claims, network, sources, output, settings) for network in claims.networks]


def _check_names(option: str, given: Mapping[str, object], known: set[str]) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise UserError(
            f"{option}: no claim is about '{unknown}'; give one of {', '.join(sorted(known))}"
        )


def _planned(
    claims: Claims, network: Network, sources: Sources, output: Path, settings: Sequence[str]
) -> Plan:
    try:
        checkpoint = _find_checkpoint(network.recipe, sources)
        lacking = [] if network.data in sources.data else [f"--data {network.data}=ROOT"]
        if checkpoint is None:
            lacking.append(str(sources.folder / f"{network.recipe}{_ENDINGS[0]}"))
        if checkpoint is None or lacking:
            return Plan(network, lacking=tuple(lacking))
        words = ["--data.root", sources.data[network.data]]
        words += ["--evaluation.clips", str(network.clips)]
        words += ["--evaluation.crops", str(network.crops)]
        words += ["--output", str(output / network.name)]
        config = load_config(claims.recipe(network.recipe), [*settings, *words])
        _make_list(network.data, config)
        return Plan(network, config, checkpoint, sha256(checkpoint))
    except UserError as error:
        return Plan(network, problem=str(error))


def _find_checkpoint(recipe: str, sources: Sources) -> Path | None:
    if recipe in sources.files:
        return sources.files[recipe]
    paths = [sources.folder / f"{recipe}{ending}" for ending in _ENDINGS]
    found = [path for path in paths if path.is_file()]
    if len(found) > 1:
        raise UserError(f"{found[0]}, {found[1]}: are two checkpoints of {recipe}; remove one")
    return found[0] if found else None


def _make_list(data: str, config: Config) -> None:
    """Make a published data set's lists where the recipe looks for them, unless they are there."""
    path = Path(config.data.validation_list)
    if data not in DATA_SETS or path.exists():
        return
    _log.info("%s", prepare(data, config.data.root, path.parent))
