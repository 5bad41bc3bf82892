"""What every test gets: its own manifest cache, and arithmetic that does not fight over cores."""

from __future__ import annotations

import os

# Set before torch is imported: two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True)
def manifest_cache(tmp_path_factory, monkeypatch):
    """No test sees another's manifests, nor the user's."""
    monkeypatch.setenv("TDN_CACHE", str(tmp_path_factory.mktemp("cache")))
