"""Published accuracies: reading configs/claims.yaml, which explains its keys."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.yaml_files import read_yaml

METRICS = {"top1": "top-1", "top5": "top-5"}


@dataclass(frozen=True)
class DataSet:
    """What holds for all claims on a data set."""

    tolerance: float
    """Largest difference, in points, at which a claim counts as reproduced."""
    videos: int = 0
    """Of the whole validation list; 0 where their number changes."""
    at_least: int = 0
    """Of the whole validation list, where their number changes."""

    def is_whole(self, videos: int) -> bool:
        """Whether so many videos are the whole validation list."""
        return videos == self.videos if self.videos else videos >= self.at_least


@dataclass(frozen=True)
class Entry:
    """One entry of the file: what was evaluated, how, and the numbers."""

    data: str
    model: str
    frames: list[int]
    clips: int
    crops: Literal[1, 3, 5, 10]
    recipes: list[str]
    claimed: dict[str, float]
    source: str


class Evaluation(NamedTuple):
    """A recipe's network, tested by a protocol."""

    data: str
    recipe: str
    clips: int
    crops: int

    @property
    def name(self) -> str:
        """What to call it and its folder."""
        return f"{self.recipe}_{self.clips}x{self.crops}"


@dataclass(frozen=True)
class Claim:
    """One published number."""

    evaluations: tuple[Evaluation, ...]
    """Several are put together."""
    model: str
    frames: tuple[int, ...]
    metric: str
    claimed: float
    """Percent."""
    data: DataSet
    source: str


@dataclass(frozen=True)
class Claims:
    """All claims of a file."""

    path: Path
    claims: tuple[Claim, ...]

    @property
    def evaluations(self) -> list[Evaluation]:
        """Everything there is to evaluate, once each."""
        return list(dict.fromkeys(e for claim in self.claims for e in claim.evaluations))

    def recipe(self, name: str) -> Path:
        """The file of a recipe."""
        return _recipe_path(self.path, name)


def read_claims(path: Path) -> Claims:
    """Read a file of claims.

    Raises:
        UserError: It is malformed, or a recipe is missing or of another network.
    """
    tree = read_yaml(path, "claims", "--claims")
    unknown = next((key for key in tree if key not in ("data", "claims")), None)
    if unknown is not None:
        raise UserError(f"{path}: unknown key {unknown!a}; give data and claims")
    sets = _content(path, tree, "data", dict)
    entries = _content(path, tree, "claims", list)
    known = {
        str(key): _parsed(DataSet, value, f"{path}: data {key!a}") for key, value in sets.items()
    }
    for name, data in known.items():
        _check_data(data, f"{path}: data {name!a}")
    load = functools.cache(lambda name: _recipe(_recipe_path(path, name)))
    claims: list[Claim] = []
    for place, value in enumerate(entries, start=1):
        where = f"{path}: claim {place}"
        entry = _parsed(Entry, value, where)
        _check_entry(entry, known, load, where)
        claims += _claims(entry, known[entry.data])
    return Claims(path, tuple(claims))


def _claims(entry: Entry, data: DataSet) -> list[Claim]:
    evaluations = tuple(
        Evaluation(entry.data, recipe, entry.clips, entry.crops) for recipe in entry.recipes
    )
    frames = tuple(entry.frames)
    return [
        Claim(evaluations, entry.model, frames, metric, claimed, data, entry.source)
        for metric, claimed in entry.claimed.items()
    ]


def _content(path: Path, tree: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(tree.get(key), kind) or not tree[key]:
        form = "a map by data set's name" if kind is dict else "a list of claims"
        raise UserError(f"{path}: '{key}' must be {form}")
    return tree[key]


_Parsed = TypeVar("_Parsed")


def _parsed(kind: type[_Parsed], tree: Any, where: str) -> _Parsed:
    """Part of the file as a dataclass."""
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UserError(f"{where}: must hold 'key: value' pairs")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        return kind(**vars(parser.instantiate(parser.parse_object(tree))))
    except ArgumentError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None


def _check_data(data: DataSet, where: str) -> None:
    """Refuse a data set of which a part would pass for the whole."""
    if not 0 <= data.tolerance < math.inf:
        raise UserError(f"{where}: tolerance must be a number from 0")
    if min(data.videos, data.at_least) < 0 or (data.videos > 0) == (data.at_least > 0):
        raise UserError(
            f"{where}: must say how long the validation list is; give videos, or at_least where "
            "their number changes"
        )


def _check_entry(
    entry: Entry, sets: dict[str, DataSet], load: Callable[[str], Config], where: str
) -> None:
    """Refuse a claim that contradicts itself or its recipes."""
    if entry.data not in sets:
        raise UserError(f"{where}: '{entry.data}' is not under data; add it there")
    odd = [name for name, value in entry.claimed.items() if not 0 <= value <= 100]
    odd += [name for name in entry.claimed if name not in METRICS]
    if odd or not entry.claimed:
        raise UserError(f"{where}: claimed must hold top1 or top5, in percent")
    if not entry.recipes or len(entry.recipes) != len(entry.frames) or entry.clips < 1:
        raise UserError(f"{where}: needs clips from 1, and a recipe for each number of frames")
    for name, frames in zip(entry.recipes, entry.frames, strict=True):
        try:
            model = load(name).model
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if (model.name, model.num_segments) != (entry.model, frames):
            raise UserError(
                f"{where}: says {entry.model} of {frames} frames, but recipe {name} is "
                f"{model.name} of {model.num_segments}"
            )


def _recipe_path(claims: Path, name: str) -> Path:
    return claims.parent / f"{name}.yaml"


def _recipe(path: Path) -> Config:
    if not path.is_file():
        raise UserError(f"{path}: there is no such recipe; correct its name, or put it there")
    return load_config(path)
