"""``tdn verify`` on demo data: trained networks, a true claim, a false one, and others."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tdn import cli
from tdn.verification.claims import Claim, DataSet, Evaluation
from tdn.verification.verifying import judge
from tests.archives import ARCHIVES
from tests.tdn.demo_training import RECIPE, VIDEOS, DemoTraining, trained
from tests.videos import write_video

__all__ = ["trained"]

DEMO = f"data:\n  demo: {{videos: {VIDEOS}, tolerance: 0.2}}\n"


@pytest.fixture
def place(trained, tmp_path) -> Path:
    """A folder with the training's recipes."""
    for frames in (2, 3):
        shutil.copy(trained.recipe(frames), tmp_path)
    return tmp_path


def measured(trained: DemoTraining, frames: int, crops: int = 1) -> dict:
    """Metrics of an evaluation of its own."""
    return json.loads((trained.evaluated(frames, crops) / "metrics.json").read_text())


def claim(frames, crops, recipes, claimed, data="demo"):
    return (
        f"- {{data: {data}, model: tdn_resnet10, frames: {frames}, clips: 1, crops: {crops}, "
        f"recipes: [{', '.join(recipes)}], claimed: {claimed}, source: a test}}\n"
    )


def verify(
    place: Path, trained: DemoTraining, *words: object, processes: int = 1
) -> tuple[int, dict, str]:
    output = place / "verified"
    options = ["--claims", place / "claims.yaml", "--checkpoints", trained.checkpoints]
    command = ["verify", *map(str, (*options, "--output", output, *words))]
    if processes == 1:
        status = cli.main(command)
    else:
        torchrun = [sys.executable, "-m", "tests.forks", "torch.distributed.run"]
        torchrun += ["--standalone", f"--nproc-per-node={processes}", "-m", "tdn"]
        done = subprocess.run([*torchrun, *command], timeout=200, check=False)
        status = done.returncode
    report = json.loads((output / "report.json").read_text())
    return status, report, (output / "report.md").read_text()


def test_one_verified_one_not_reproduced_the_rest_not_run(trained, place, capsys):
    two = measured(trained, 2)
    scores_2, scores_3 = trained.scores(2), trained.scores(3)
    together = np.maximum(scores_2.logits, 0).mean(1) + np.maximum(scores_3.logits, 0).mean(1)
    ensemble = 100 * float(np.mean(together.argmax(1) == scores_2.labels))
    assert 0 < two["top1"] < 100
    false = two["top5"] + (-30 if two["top5"] > 50 else 30)
    (place / "claims.yaml").write_text(
        DEMO
        + "  other: {at_least: 1, tolerance: 1}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top1": round(two["top1"], 1), "top5": round(false, 1)})
        + claim([2, 3], 1, ["demo_2f", "demo_3f"], {"top1": round(ensemble, 1)})
        + claim([3], 1, ["demo_3f"], {"top1": 20.0}, "other")
    )
    status, report, text = verify(place, trained, "--data", f"demo={trained.root}")
    assert status == 1
    found = {(tuple(c["frames"]), c["metric"]): c for c in report["claims"]}
    assert {key: c["status"] for key, c in found.items()} == {
        ((2,), "top1"): "Verified",
        ((2,), "top5"): "Not reproduced",
        ((2, 3), "top1"): "Verified",
        ((3,), "top1"): "Not run",
    }
    assert report["counts"] == {"Verified": 2, "Not reproduced": 1, "Not run": 1}
    assert found[(2,), "top1"]["measured"] == two["top1"]
    assert found[(2,), "top5"]["difference"] == pytest.approx(two["top5"] - round(false, 1))
    assert found[(2, 3), "top1"]["measured"] == pytest.approx(ensemble)
    assert "--data other=ROOT" in found[(3,), "top1"]["note"]
    assert found[(3,), "top1"]["measured"] is None

    made = {m["evaluation"]: m for m in report["measurements"]}
    assert set(made) == {"demo_2f_1x1", "demo_3f_1x1"}
    checkpoint = trained.checkpoint(3).read_bytes()
    assert made["demo_3f_1x1"]["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert made["demo_2f_1x1"]["videos"] == VIDEOS
    assert report["versions"]["tdn"]
    assert report["commit"]
    for word in ("Verified", "Not reproduced", "Not run", report["commit"], "demo_3f.pth.tar"):
        assert word in text
    shown = capsys.readouterr().out
    assert "2 verified, 1 not reproduced, 1 not run" in shown
    assert shown.count("| Verified") == 2


def test_every_measurement_is_of_the_claims_protocol_and_made_once(trained, place, capsys):
    three = measured(trained, 3, crops=3)
    (place / "claims.yaml").write_text(
        f"data:\n  demo: {{at_least: {VIDEOS}, tolerance: 0.2}}\nclaims:\n"
        + claim([3], 3, ["demo_3f"], {"top1": round(three["top1"], 1)})
        + claim([3], 3, ["demo_3f"], {"top5": round(three["top5"], 1)})
    )
    status, report, _ = verify(place, trained, "--data", f"demo={trained.root}")
    assert (status, report["counts"]["Verified"]) == (0, 2)
    (one,) = report["measurements"]
    assert (one["clips"], one["crops"], one["views"]) == (1, 3, 3)


def test_nothing_is_verified_on_a_part_of_the_list(trained, place, capsys):
    """A video that cannot be decoded is named; a list that is too short is told."""
    (place / "text.mp4").write_text("no video")
    paths = [f"{path} {label}\n" for path, label in trained.videos]
    (place / "long.txt").write_text("".join([*paths, f"{place / 'text.mp4'} 0\n"]))
    (place / "short.txt").write_text("".join(paths[:-1]))
    recipe = (place / "demo_2f.yaml").read_text()
    words = ["--data", f"demo={trained.root}"]
    for name in ("long", "long_too", "short"):
        listed = str(place / f"{name.removesuffix('_too')}.txt")
        (place / f"{name}.yaml").write_text(recipe.replace(f"{trained.root}/test.txt", listed))
        words += ["--checkpoint", f"{name}={trained.checkpoint(2)}"]
    (place / "claims.yaml").write_text(
        f"data:\n  demo: {{at_least: {VIDEOS}, tolerance: 100}}\nclaims:\n"
        + claim([2], 1, ["long"], {"top1": 50})
        + claim([2], 1, ["short"], {"top1": 50})
        + claim([2, 2], 1, ["long", "long_too"], {"top1": 50})
    )
    status, report, _ = verify(place, trained, *words)
    assert status == 1
    assert [c["status"] for c in report["claims"]] == ["Not reproduced"] * 3
    long, short, together = (c["note"] for c in report["claims"])
    assert "text.mp4" in long
    assert f"{VIDEOS - 1} videos" in short
    assert f"at least {VIDEOS}" in short
    assert "text.mp4" in together
    assert report["measurements"][0]["left_out_videos"] == ["text.mp4"]


def test_what_fails_is_not_run_and_says_why(trained, place, capsys):
    """On two processes: the one that does not tell goes on, too."""
    (place / "text.pt").write_text("no checkpoint")
    (place / "claims.yaml").write_text(
        f"data:\n  demo: {{videos: {VIDEOS}, tolerance: 100}}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top1": 50})
        + claim([2, 3], 1, ["demo_2f", "demo_3f"], {"top1": 50})
        + claim([3], 1, ["demo_3f"], {"top1": 50})
    )
    words = ["--data", f"demo={trained.root}", "--checkpoint", f"demo_2f={place / 'text.pt'}"]
    status, report, text = verify(place, trained, *words, processes=2)
    assert status == 1
    assert report["measurements"][-1]["world_size"] == 2
    assert [c["status"] for c in report["claims"]] == ["Not run", "Not run", "Verified"]
    assert all("text.pt" in c["note"] for c in report["claims"][:2])

    # Where nothing can be measured, the report stays.
    output = place / "verified"
    before = sorted(output.iterdir())
    assert verify(place, trained) == (0, report, text)
    assert sorted(output.iterdir()) == before
    assert "0 verified, 0 not reproduced, 3 not run" in capsys.readouterr().out
    # Another one does not replace it.
    status, other, _ = verify(place, trained, "--data", f"demo={trained.root}")
    assert other["counts"]["Verified"] == 3
    (former,) = output.glob("report-*.json")
    assert json.loads(former.read_text()) == report
    assert former.with_suffix(".md").read_text() == text


def test_a_published_data_sets_lists_are_made(trained, place, monkeypatch, capsys):
    """One command: neither the lists nor the class names have to be there."""
    monkeypatch.chdir(place)
    (place / "root").mkdir()
    root = ARCHIVES["ucf101"](place / "root")
    (root / "ucfTrainTestlist").rename(place / "labels")
    for path in list((root / "UCF-101").rglob("*.avi")):
        write_video(path.with_suffix(""), 6, codec="mjpeg", size=(48, 64))
    text = (place / "demo_2f.yaml").read_text()
    text = text.replace(f"{trained.root}/test.txt", "data/ucf101/validation_split1.txt")
    (place / "demo_2f.yaml").write_text(text)
    (place / "claims.yaml").write_text(
        "data:\n  ucf101: {videos: 3783, tolerance: 100}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top5": 50}, "ucf101")
    )
    words = ["--data", f"ucf101={root}"]
    assert cli.main(["verify", "--claims", "claims.yaml", *words]) == 0
    assert not (place / "runs").exists()
    words += ["--checkpoints", str(trained.checkpoints)]
    assert cli.main(["verify", "--claims", "claims.yaml", *words]) == 1
    assert "--labels" in capsys.readouterr().out
    words += ["--labels", f"ucf101={place / 'labels'}"]
    status = cli.main(["verify", "--claims", "claims.yaml", *words])
    report = json.loads((place / "runs" / "verify" / "report.json").read_text())
    assert (status, report["claims"][0]["status"]) == (1, "Not reproduced")
    assert "2 videos" in report["claims"][0]["note"]
    assert "3,783" in report["claims"][0]["note"]
    assert (place / "data" / "ucf101" / "validation_split1.txt").is_file()


WHOLE, VARYING = DataSet(0.3, videos=100), DataSet(0.3, at_least=100)


@pytest.mark.parametrize(
    ("measured", "videos", "left_out", "data", "status"),
    [
        (52.6, 100, 0, WHOLE, "Verified"),
        (52.0, 100, 0, WHOLE, "Verified"),
        (52.61, 100, 0, WHOLE, "Not reproduced"),
        (51.99, 100, 0, WHOLE, "Not reproduced"),
        (52.3, 99, 0, WHOLE, "Not reproduced"),
        (52.3, 101, 0, WHOLE, "Not reproduced"),
        (52.3, 100, 1, WHOLE, "Not reproduced"),
        (float("nan"), 100, 0, WHOLE, "Not reproduced"),
        (52.3, 100, 0, VARYING, "Verified"),
        (52.3, 117, 0, VARYING, "Verified"),
        (52.3, 99, 0, VARYING, "Not reproduced"),
        (52.3, 117, 1, VARYING, "Not reproduced"),
    ],
)
def test_only_the_whole_list_within_the_tolerance_verifies(
    measured, videos, left_out, data, status
):
    claim = Claim((Evaluation("ssv1", "a", 1, 1),), "tdn", (8,), "top1", 52.3, data, "a test")
    found = judge(claim, {"top1": measured, "videos": videos, "left_out": left_out})
    assert found.status == status
    assert found.measured is measured


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--claims", "nowhere.yaml"], ["nowhere.yaml", "--claims"]),
        (["--data", "demo"], ["--data", "ssv1=/data/ssv1"]),
        (["--data", "omed=/data"], ["omed", "demo"]),
        (["--data", "demo=a", "--data", "demo=b"], ["demo", "twice"]),
        (["--checkpoint", "demo=a.pt"], ["--checkpoint", "demo_2f"]),
        (["--labels", "omed=/labels"], ["--labels", "omed", "demo"]),
        (["--set", "evaluation.crops=3"], ["evaluation.crops", "data.batch_size"]),
        (["--set", "data.batch_size=many"], ["data.batch_size", "many"]),
    ],
)
def test_mistakes_are_one_line(words, names, monkeypatch, tmp_path, capsys):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo_2f.yaml").write_text(RECIPE.format(frames=2, root="data"))
    (tmp_path / "configs" / "claims.yaml").write_text(
        DEMO + "claims:\n" + claim([2], 1, ["demo_2f"], {"top1": 50})
    )
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(["verify", *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    for name in names:
        assert name in captured.err
    assert not list(tmp_path.rglob("report.*"))
