"""The browser in which tests look at pages."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str:
    """A browser's path.

    Without one the test is skipped; where TDN_NEEDS_BROWSER is set, as ``make test`` does, it
    fails.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    message = f"no browser: install one of {', '.join(NAMES)}"
    if os.environ.get("TDN_NEEDS_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)
