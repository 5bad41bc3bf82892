from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tdn
from tests.tdn import synthetic


class Tiny:
    """The tiny network and its clips in place of the real ones."""

    def __init__(self) -> None:
        self.loaders: list[synthetic.SyntheticLoader] = []
        self.hooks: dict[str, Callable[[int, int], object]] = {}
        """Called before each batch, by split, with the epoch and the step."""
        self.classes: dict[str, tuple[str, ...]] = {}
        """Class names of the lists, by split."""

    def create_loader(self, *arguments: Any, **settings: Any) -> synthetic.SyntheticLoader:
        loader = synthetic.create_loader(*arguments, **settings)
        split = "train" if loader.train else "validation"
        loader.before_batch = self.hooks.get(split, loader.before_batch)
        loader.classes = self.classes.get(split, ())
        self.loaders.append(loader)
        return loader


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    tiny = Tiny()
    monkeypatch.setattr(tdn, "create_loader", tiny.create_loader, raising=False)
    monkeypatch.setattr(tdn, "create_model", synthetic.create_model, raising=False)
    monkeypatch.setattr(tdn, "load_checkpoint", synthetic.load_checkpoint, raising=False)
    return tiny
