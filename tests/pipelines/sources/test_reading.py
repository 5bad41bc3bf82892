from __future__ import annotations

from tdn.pipelines.sources.reading import read_listing
from tests.sources import write_shard
from tests.videos import write_list


def test_every_kind_of_source_is_told_by_its_name(tmp_path):
    video = tmp_path / "classes" / "climb" / "a.webm"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"video")
    (tmp_path / "list.csv").write_text("path,class\nx.mp4,climb\n")
    write_list(tmp_path / "list.txt", [("x.mp4", 0)])
    write_shard(tmp_path / "a.tar", [("x", video, "climb")])
    found = {
        name: read_listing(tmp_path / name).paths
        for name in ("classes", "list.csv", "list.txt", "a.tar")
    }
    assert found == {
        "classes": ["climb/a.webm"],
        "list.csv": ["x.mp4"],
        "list.txt": ["x.mp4"],
        "a.tar": ["a.tar"],
    }
