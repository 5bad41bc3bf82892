"""Reading the configuration in commands that ``torchrun`` may have started several times."""

from __future__ import annotations

import argparse
import os

from tdn.config import Config
from tdn.errors import UserError


def read_config(arguments: argparse.Namespace) -> Config:
    """The configuration of ``--config`` and the overrides; a mistake in it is told once per host.

    Raises:
        UserError: As ``tdn.config_loading.load_config``.
        SystemExit: The same mistake, in processes of a host that leave the telling to the first.
    """
    from tdn.config_loading import load_config

    try:
        return load_config(arguments.config, arguments.overrides)
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise SystemExit(2) from None
