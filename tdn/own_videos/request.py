"""What a command asks for, read and checked before anything that takes seconds to import."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdn.config import Config
from tdn.config_loading import absolute_paths, load_config
from tdn.errors import UserError
from tdn.own_videos.class_folders import check_class_folders

MANY_CLASSES = 1_000_000
"""As many as no network has: until they are counted."""


@dataclass(frozen=True)
class Request:
    """What a command asks for.

    Attributes:
        words: Keys and values, as given.
        config: The defaults with these.
        minutes: For training; None for what is usual.
    """

    words: tuple[str, ...]
    config: Config
    minutes: float | None

    @classmethod
    def of(cls, words: Sequence[str], minutes: float | None) -> Request:
        """Read and check the words.

        Raises:
            UserError: One does not fit, or they name no videos.
        """
        if minutes is not None and not 0 < minutes < float("inf"):
            raise UserError(f"--minutes: {minutes:g} does not fit; give a number above 0")
        if "RANK" in os.environ:
            raise UserError(
                "without --config this is not for torchrun: it starts a process for each GPU itself"
            )
        config = load_config(None, ["--model.num_classes", str(MANY_CLASSES), *words])
        data = config.data
        if bool(data.train_list) != bool(data.validation_list):
            given, other = ("train", "validation")[:: 1 if data.train_list else -1]
            raise UserError(
                f"data.{given}_list: is given without data.{other}_list; give both, or neither and "
                "data.root, to have its videos divided"
            )
        if not (data.root or data.train_list):
            raise UserError(
                "give --data.root FOLDER, which has a folder of videos for each class, or a "
                "configuration with --config FILE"
            )
        if not data.train_list:
            check_class_folders(Path(data.root))
        if "output" not in given_keys(words):
            place = Path(data.root) if data.root else Path(data.train_list).parent
            config.output = str(Path("runs", place.resolve().name or "videos"))
        return cls(tuple(words), config, minutes)

    @property
    def about(self) -> dict[str, Any]:
        """What a run is made of once and for all."""
        data = absolute_paths(self.config).data
        names = ("root", "train_list", "validation_list")
        return {"seed": self.config.seed} | {name: getattr(data, name) for name in names}

    @property
    def divides(self) -> bool:
        """Whether the videos are to be divided, as no lists are given."""
        return not self.config.data.train_list


def given_keys(words: Sequence[str]) -> frozenset[str]:
    """The keys among words such as ``--optimizer.lr 0.1`` and ``--seed=3``."""
    return frozenset(word[2:].split("=")[0] for word in words if word.startswith("--"))


def without(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The words without these keys and their values."""
    kept: list[str] = []
    skip = False
    for word in words:
        if word.startswith("--"):
            skip = word[2:].split("=")[0] in keys
        if not skip:
            kept.append(word)
    return kept
