from __future__ import annotations

import numpy as np
import pytest

from tdn.pipelines.loader import Loader
from tdn.pipelines.transcoding import measuring
from tdn.pipelines.transcoding.measuring import compare
from tdn.pipelines.transcoding.run import transcode
from tdn.pipelines.transcoding.settings import CopySettings


@pytest.mark.parametrize(
    "settings",
    [CopySettings("h264", 64, 4), CopySettings("jpeg", 64, 1), CopySettings("vp9", 64, 4, 3)],
    ids=["files", "folders", "shards"],
)
def test_both_sides_decode_the_same_frames_in_turns(originals, tmp_path, monkeypatch, settings):
    decoded = []
    batches = Loader.__iter__

    def watched(self):
        for batch in batches(self):
            decoded.append((str(self.planner.manifest.list_path), batch.frame_numbers.numpy()))
            yield batch

    monkeypatch.setattr(Loader, "__iter__", watched)
    monkeypatch.setattr(measuring, "_ROUNDS", 2)
    report = transcode(originals, tmp_path / "out", settings, workers=2, progress=False)
    comparison = compare(report, crop=32, seconds=0.01)
    paths = [path for path, _ in decoded]
    sides = [path for place, path in enumerate(paths) if not place or paths[place - 1] != path]
    assert len(sides) == 4
    assert sides[0] == sides[2] == str(originals)
    assert sides[1] == sides[3] != sides[0]
    first, second = (next(n for path, n in decoded if path == side) for side in sides[:2])
    assert np.array_equal(first, second)
    assert comparison.batch == 8
    for speed in (comparison.original, comparison.copy):
        assert speed.clips_per_second > 0
        assert speed.cpu_seconds > 0
    assert len(str(comparison).splitlines()) == 4
