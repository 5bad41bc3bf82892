"""Reading the configuration in commands that ``torchrun`` may have started several times."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tdn.config import Config
from tdn.errors import UserError


def read_config(arguments: argparse.Namespace) -> Config:
    """The configuration of ``--config`` and the overrides; a mistake in it is told once per host.

    Raises:
        UserError: As ``tdn.config_loading.load_config``.
        SystemExit: As ``told_once``.
    """
    from tdn.config_loading import load_config

    with told_once():
        return load_config(arguments.config, arguments.overrides)


@contextmanager
def told_once() -> Iterator[None]:
    """Leave it to the first process of a host to tell of a mistake that all its processes meet.

    Raises:
        SystemExit: The mistake, in the others.
    """
    try:
        yield
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise SystemExit(2) from None
