"""What every test gets: its own manifest cache, and arithmetic that does not fight over cores."""

from __future__ import annotations

import os

# Set before torch is imported: two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# Set before a kernel is imported: without a GPU, Triton's interpreter runs them.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Two test processes share two cores with whatever else runs: examples may take their time.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def manifest_cache(tmp_path_factory, monkeypatch):
    """No test sees another's manifests, nor the user's."""
    monkeypatch.setenv("TDN_CACHE", str(tmp_path_factory.mktemp("cache")))
