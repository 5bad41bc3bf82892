"""Settings that are given to a run that is there already: none is left out in silence.

What can still change does, and is told. The rest is refused: what the run was made of, and how it
is to be trained once it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tdn.config import Config
from tdn.config_loading import absolute_paths, config_to_dict, dump_config, load_config
from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.own_videos.choices import in_words
from tdn.training.saving.run_folder import RunFolder
from tdn.training.saving.run_lock import run_lock
from tdn.training.state import RunState

_ONCE = (
    *("model.name", "model.num_segments", "model.num_classes", "model.width", "model.temporal"),
    *("model.pretrained", "model.new_head", "optimizer.name"),
    *("data.classes", "data.frame_template"),
)
"""Keys that a run is made of, or that its other settings were chosen for."""
_FILES = (("model", "pretrained"), ("data", "classes"))
_ANY_TIME = (
    *("training.device", "training.cpu_threads", "training.stop_timeout"),
    *("data.num_threads", "data.prefetch", "data.memory_limit", "data.max_bad_share"),
    *("logging.progress", "evaluation."),
)
"""Keys, and beginnings of keys, of what is done after the training, too."""


class Change(NamedTuple):
    """A setting that is given otherwise."""

    now: Any
    former: Any


def check_about(root: Path, now: Mapping[str, Any], former: Mapping[str, Any]) -> None:
    """Refuse other videos, or another division of them, than a run was started with.

    Raises:
        UserError: Names the key and both values.
    """
    for name, value in now.items():
        if name == "seed":
            key, same = name, value == former[name]
        else:
            key, same = f"data.{name}", _same_place(value, former[name])
        if not same:
            raise _refusal(key, Change(value, former[name]), root)


def settings_now(folder: RunFolder, words: Sequence[str], epochs: int | None = None) -> Config:
    """A run's settings with those that are given now, which are told.

    Those of the evaluation count for a run that is trained, too: it is tested again.

    Args:
        folder: The run's.
        words: Keys and values that are given.
        epochs: That there is time for, if a time is given.

    Raises:
        UserError: A setting cannot act any more.
    """
    resume = ("--training.resume", "auto")  # another one is for the start that it was given to
    former = load_config(folder.config, resume)
    config = load_config(folder.config, [*resume, *words])
    _keep_same_files(former, config)
    if epochs is not None:
        config.training.epochs = epochs
    changes = _changes(former, config)
    for key, change in changes.items():
        if key in _ONCE:
            raise _refusal(key, change, folder.root)
    found = folder.find_checkpoint(config.training.resume) if changes else None
    done = RunState.of(found.checkpoint).epoch if found is not None else 0
    if "training.epochs" in changes and config.training.epochs <= done:
        raise UserError(
            f"{'training.epochs' if epochs is None else '--minutes'}: {config.training.epochs} "
            f"epochs are too few for {folder.root}, of whose {former.training.epochs} {done} are "
            "done; give more, or another --output"
        )
    complete = found is not None and done >= config.training.epochs
    if complete:
        _check_complete(folder.root, changes, done)
    if epochs is not None:
        changes.pop("training.epochs", None)  # who asks for minutes tells them
    but = ", but for these" if changes else ""
    print(f"{folder.root}: goes on with the lists and settings that it was started with{but}")
    for key, change in changes.items():
        later = ", for what is not done yet" if complete else ""
        print(f"  {key}: {in_words(change.now)}, no longer {in_words(change.former)}{later}")
    if complete and config.evaluation != former.evaluation:
        former.evaluation = config.evaluation
        with run_lock(folder.root):
            # It goes first: interrupted in between, the change is found again.
            (folder.root / "metrics.json").unlink(missing_ok=True)
            write_text_atomically(folder.config, dump_config(absolute_paths(former)))
    return config


def _check_complete(root: Path, changes: Mapping[str, Change], done: int) -> None:
    """Refuse what would have acted in the training."""
    for key, change in changes.items():
        if not key.startswith(_ANY_TIME):
            raise UserError(
                f"{key}: {in_words(change.now)} comes too late for {root}, whose {done} epochs are "
                f"all done with {in_words(change.former)}; give another --output, or train longer, "
                f"such as --training.epochs {2 * done}"
            )


def _refusal(key: str, change: Change, root: Path) -> UserError:
    now, former = (in_words(value) for value in change)
    return UserError(
        f"{key}: {now} does not go with {root}, which was started with {former}; give another "
        "--output"
    )


def _changes(former: Config, config: Config) -> dict[str, Change]:
    """What differs, by dotted key."""
    before, changes = config_to_dict(former), {}
    for section, values in config_to_dict(config).items():
        if isinstance(values, dict):
            for name, now in values.items():
                if now != before[section][name]:
                    changes[f"{section}.{name}"] = Change(now, before[section][name])
    return changes


def _keep_same_files(former: Config, config: Config) -> None:
    """Name files that are the same, or say the same, as they were named before."""
    for section, name in _FILES:
        now, before = (getattr(getattr(whole, section), name) for whole in (config, former))
        if now and before and (_same_place(now, before) or _same_text(now, before)):
            setattr(getattr(config, section), name, before)


def _same_place(first: str, second: str) -> bool:
    """Whether two paths, which may be empty, lead to the same place."""
    if not (first and second):
        return first == second
    return os.path.realpath(first) == os.path.realpath(second)


def _same_text(first: str, second: str) -> bool:
    """Whether two files hold the same, as a run has a copy of the names that it was given."""
    one, other = Path(first), Path(second)
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
