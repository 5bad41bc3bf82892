"""Small data sets in the form of the published ones: the owners' label files, and empty videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

TEMPLATES = tuple(f"Holding [something] number {n:03d}, upright" for n in range(174))
"""In V2's files with brackets; in alphabetical order."""
PLAIN = tuple(name.replace("[", "").replace("]", "") for name in TEMPLATES)


def ssv1(root: Path) -> Path:
    """Folders of frames; labels.csv is in no order, as the owner's."""
    lines = {
        "labels": [*PLAIN[1::2], *PLAIN[::2]],
        "train": [f"{n};{PLAIN[n * 5]}" for n in (12, 7, 31)],
        "validation": [f"{n};{PLAIN[n]}" for n in (100, 3)],
        "test": ["55", "4"],
    }
    for name, rows in lines.items():
        (root / f"something-something-v1-{name}.csv").write_text("\n".join(rows) + "\n")
    for clip in (12, 7, 31, 100, 3, 55, 4):
        folder = root / "20bn-something-something-v1" / str(clip)
        folder.mkdir(parents=True)
        (folder / "00001.jpg").touch()
    return root


def ssv2(root: Path) -> Path:
    """WebM videos, label files in a folder of their own."""
    labels = root / "labels"
    labels.mkdir()
    (labels / "labels.json").write_text(json.dumps({n: str(i) for i, n in enumerate(PLAIN)}))
    for part, clips in (("train", (9, 2, 170)), ("validation", (81, 30))):
        items = [
            {
                "id": str(clip),
                "label": "holding a cup upright",
                "template": TEMPLATES[clip % 174],
                "placeholders": ["a cup"],
            }
            for clip in clips
        ]
        (labels / f"{part}.json").write_text(json.dumps(items))
    (labels / "test.json").write_text(json.dumps([{"id": "44"}, {"id": "45"}]))
    touch(root / "20bn-something-something-v2", *(f"{n}.webm" for n in (9, 2, 170, 81, 30, 44, 45)))
    return root


def kinetics400(root: Path) -> Path:
    """Training videos in class folders, validation videos flat; quoted labels, float times."""
    (root / "annotations").mkdir()
    (root / "annotations" / "train.csv").write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        '"riding a bike",-3B32lodo2M,59,69,train,0\n'
        "abseiling,0wR5jVB-WPk,417,427,train,0\n"
        '"massaging person\'s head",_abc_DEF-12,0.0,10.0,train,1\n'
    )
    (root / "annotations" / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\r\n"
        "abseiling,3caPS4FHFF8,36,46,validate\r\n"
        "riding a bike,3yaoNwz99xM,62,72,validate\r\n"
    )
    touch(root / "train" / "riding_a_bike", "-3B32lodo2M_000059_000069.mp4")
    touch(root / "train" / "abseiling", "0wR5jVB-WPk_000417_000427.mp4")
    touch(root / "train" / "massaging_person's_head", "_abc_DEF-12_000000_000010.mp4")
    touch(root / "val", "3caPS4FHFF8_000036_000046.mp4", "3yaoNwz99xM_000062_000072.mkv")
    return root


def ucf101(root: Path) -> Path:
    """Class folders; lines end as on Windows; the class of the well-known capital letter."""
    labels = root / "ucfTrainTestlist"
    labels.mkdir()
    clips = {
        "ApplyEyeMakeup": ("v_ApplyEyeMakeup_g01_c01", "v_ApplyEyeMakeup_g08_c01"),
        "HandstandPushups": ("v_HandStandPushups_g01_c01", "v_HandStandPushups_g08_c01"),
    }
    (labels / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n")
    for split in (1, 2):  # the second is the first the other way round
        test, train = (0, 1) if split == 1 else (1, 0)
        rows = [f"{name}/{two[train]}.avi {n}" for n, (name, two) in enumerate(clips.items(), 1)]
        (labels / f"trainlist0{split}.txt").write_text("\r\n".join(rows) + "\r\n")
        rows = [f"{name}/{two[test]}.avi" for name, two in clips.items()]
        (labels / f"testlist0{split}.txt").write_text("\r\n".join(rows) + "\r\n")
    for name, two in clips.items():
        touch(root / "UCF-101" / name, *(f"{clip}.avi" for clip in two))
    return root


def hmdb51(root: Path) -> Path:
    """A file of splits for each class; the same name in two classes."""
    labels = root / "testTrainMulti_7030_splits"
    labels.mkdir()
    names = ("#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "clip_1.avi", "(HQ)_scene;_3.avi")
    for name, parts in (("clap", "120"), ("brush_hair", "211")):
        for split in (1, 2, 3):
            rows = [f"{file} {part} \n" for file, part in zip(names, parts, strict=True)]
            (labels / f"{name}_test_split{split}.txt").write_text("".join(rows))
        touch(root / "hmdb51_org" / name, *names)
    return root


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "ssv1": ssv1,
    "ssv2": ssv2,
    "kinetics400": kinetics400,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
}
