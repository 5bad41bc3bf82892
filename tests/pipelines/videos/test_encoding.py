"""Encoding, and what it must not do to the program around it."""

from __future__ import annotations

import os
import threading

import pytest

from tdn.doctor.video import CODECS, encoded
from tests.corpus import encode


@pytest.mark.parametrize("codec", CODECS)
def test_who_encodes_is_scheduled_as_before(codec, tmp_path):
    """And so is what it starts; by SVT-AV1 root would be made to wait for nobody."""
    before = os.sched_getscheduler(0)
    encoded(codec)
    encode(tmp_path / f"video{CODECS[codec].suffix}", codec, 2)
    assert os.sched_getscheduler(0) == before
    policies = []
    thread = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    assert policies == [before]
