"""Videos as people have them: real H.264 files of mixed sizes, in a folder for each class."""

from __future__ import annotations

from pathlib import Path

from tests.videos import rotate_mp4, write_video

CLASSES = ("closing a door", "opening a door")
KINDS = (
    {"frames": 26, "size": (72, 128)},
    {"frames": 31, "size": (128, 72)},  # portrait
    {"frames": 4, "size": (96, 96)},  # short
    {"frames": 21, "size": (98, 130)},  # no multiple of 4
    {"frames": 24, "size": (90, 120), "audio": True},
)


def ten_videos(folder: Path) -> Path:
    """Five videos in each of two classes; of each class one was held upright, by its header."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for kind, settings in enumerate(KINDS):
            # Not two alike: files with the same content are of one source.
            path = folder / name / f"{kind}.mp4"
            write_video(
                path, codec="h264", options={"g": "6"}, title=f"{number} {kind}", **settings
            )
        rotate_mp4(folder / name / "4.mp4", 90)
    return folder
