"""Being bound by the permissions of files and folders, which root is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Run as a user who may not do everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)
