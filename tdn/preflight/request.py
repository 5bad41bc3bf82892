"""What is to be run: the words after ``tdn``, and what they name that all nodes must see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError

_LISTS = {"train": ("train_list", "validation_list"), "evaluate": ("validation_list",)}
"""What commands that write into a run folder cannot do without."""


class Request(NamedTuple):
    """A run."""

    words: tuple[str, ...] = ()
    """The configuration's file and what overrides it; nothing for a command without one."""
    output: Path | None = None
    """Its folder, if it has one."""
    on_gpu: bool = True
    """Whether it takes GPUs where there are any."""
    configuration: str = ""
    """Digest of the configuration as it was read, the same for equal ones."""
    lists: tuple[str, ...] = ()
    """Lists of clips."""


def read_request(words: Sequence[str]) -> Request:
    """Read a command line of ``tdn`` without running it.

    A configuration that cannot be read is left to its own check, whose finding then names it.

    Args:
        words: Such as "train", "--config", "my.yaml"; nothing for the machine alone.

    Raises:
        UserError: The command or its options are wrong, or a list that it needs is not given.
    """
    if not words:
        return Request()
    from tdn.cli import read_options

    options = read_options(words)
    path = getattr(options, "config", None)
    if path is None:
        return Request()
    request = Request(words=(path, *options.overrides))
    from tdn.config_loading import dump_config, load_config

    try:
        config = load_config(path, options.overrides)
    except UserError:
        return request
    data = config.data
    for key in _LISTS.get(words[0], ()):
        if not getattr(data, key):
            raise UserError(f"data.{key}: is empty; give the list of its videos: --data.{key} FILE")
    return request._replace(
        output=Path(config.output) if words[0] in _LISTS else None,
        on_gpu=config.training.device != "cpu",
        configuration=hashlib.sha256(dump_config(config).encode()).hexdigest()[:12],
        lists=tuple(filter(None, (data.train_list, data.validation_list))),
    )
