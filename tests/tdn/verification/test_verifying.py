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
from tdn.config_loading import load_config
from tdn.evaluation.evaluator import evaluate
from tdn.pipelines.demo_data import write_demo_data
from tdn.training.trainer import train
from tdn.verification.claims import Claim, Network
from tdn.verification.verifying import judge
from tests.archives import ARCHIVES
from tests.videos import write_video

RECIPE = """\
model: {{name: tdn_resnet10, num_segments: {frames}, num_classes: 12, width: 8}}
data:
  train_list: {root}/train.txt
  validation_list: {root}/train.txt
  batch_size: 4
  crop_size: 48
  flip: false
  short_side: 48
  num_threads: 1
optimizer: {{name: adamw, lr: 0.003, clip_norm: 5}}
schedule: {{name: constant}}
training: {{epochs: 8, validate_every: 8, device: cpu, cpu_threads: 1}}
logging: {{tensorboard: false, progress: false}}
"""
VIDEOS = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Demo data, recipes of 2 and 3 frames, and checkpoints of a trained network."""
    place = tmp_path_factory.mktemp("verify")
    root = place / "root"
    write_demo_data(root, clips=VIDEOS, validation_clips=12, codec="mjpeg", workers=1)
    (place / "checkpoints").mkdir()
    for frames in (2, 3):
        (place / f"demo_{frames}f.yaml").write_text(RECIPE.format(frames=frames, root=root))
    result = train(load_config(place / "demo_2f.yaml", ["--output", str(place / "run")]))
    for name in ("demo_2f.pt", "demo_3f.pth.tar"):  # the wtwos fit any number of segments
        shutil.copy(result.last, place / "checkpoints" / name)
    return place


def measured(place: Path, frames: int, crops: int = 1) -> tuple[dict, np.ndarray, np.ndarray]:
    """Metrics of an evaluation of its own; labels and scores."""
    output = place / f"by hand {frames} {crops}"
    words = ["--output", str(output), "--evaluation.crops", str(crops)]
    config = load_config(place / f"demo_{frames}f.yaml", words)
    checkpoint = next((place / "checkpoints").glob(f"demo_{frames}f.*"))
    metrics = evaluate(config, checkpoint)
    with np.load(output / "scores.npz") as archive:
        return metrics, archive["labels"], archive["scores"]


def claim(frames, crops, recipes, claimed, data="demo"):
    return (
        f"- {{data: {data}, model: tdn_resnet10, frames: {frames}, clips: 1, crops: {crops}, "
        f"recipes: [{', '.join(recipes)}], claimed: {claimed}, source: a test}}\n"
    )


def verify(place: Path, *words: object, processes: int = 1) -> tuple[int, dict, str]:
    output = place / "verified"
    shutil.rmtree(output, ignore_errors=True)
    options = ["--claims", place / "claims.yaml", "--checkpoints", place / "checkpoints"]
    command = ["verify", *map(str, (*options, "--output", output, *words))]
    if processes == 1:
        status = cli.main(command)
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        torchrun += [f"--nproc-per-node={processes}", "-m", "tdn"]
        done = subprocess.run([*torchrun, *command], timeout=200, check=False)
        status = done.returncode
    report = json.loads((output / "report.json").read_text())
    return status, report, (output / "report.md").read_text()


def test_one_verified_one_not_reproduced_the_rest_not_run(place, capsys):
    two, labels, scores_2 = measured(place, 2)
    _, _, scores_3 = measured(place, 3)
    together = np.maximum(scores_2, 0).mean(1) + np.maximum(scores_3, 0).mean(1)
    ensemble = 100 * float(np.mean(together.argmax(1) == labels))
    assert 0 < two["top1"] < 100
    false = two["top5"] + (-30 if two["top5"] > 50 else 30)
    (place / "claims.yaml").write_text(
        f"data:\n  demo: {{videos: {VIDEOS}, tolerance: 0.2}}\n  other: {{tolerance: 1}}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top1": round(two["top1"], 1), "top5": round(false, 1)})
        + claim([2, 3], 1, ["demo_2f", "demo_3f"], {"top1": round(ensemble, 1)})
        + claim([3], 1, ["demo_3f"], {"top1": 20.0}, "other")
    )
    status, report, text = verify(place, "--data", f"demo={place / 'root'}")
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

    networks = {m["network"]: m for m in report["measurements"]}
    assert set(networks) == {"demo_2f_1x1", "demo_3f_1x1"}
    checkpoint = (place / "checkpoints" / "demo_3f.pth.tar").read_bytes()
    assert networks["demo_3f_1x1"]["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert networks["demo_2f_1x1"]["videos"] == VIDEOS
    assert report["versions"]["tdn"]
    assert report["commit"]
    for word in ("Verified", "Not reproduced", "Not run", report["commit"], "demo_3f.pth.tar"):
        assert word in text
    shown = capsys.readouterr().out
    assert "2 verified, 1 not reproduced, 1 not run" in shown
    assert shown.count("| Verified") == 2


def test_every_measurement_is_of_the_claims_protocol_and_made_once(place, capsys):
    three, _, scores = measured(place, 2, crops=3)
    assert scores.shape[1] == 3
    (place / "claims.yaml").write_text(
        "data:\n  demo: {tolerance: 0.2}\nclaims:\n"
        + claim([2], 3, ["demo_2f"], {"top1": round(three["top1"], 1)})
        + claim([2], 3, ["demo_2f"], {"top5": round(three["top5"], 1)})
    )
    status, report, _ = verify(place, "--data", f"demo={place / 'root'}")
    assert (status, report["counts"]["Verified"]) == (0, 2)
    (one,) = report["measurements"]
    assert (one["clips"], one["crops"], one["views"]) == (1, 3, 3)


def test_what_fails_is_not_run_and_says_why(place, tmp_path, capsys):
    """On two processes: the one that does not tell goes on, too."""
    (tmp_path / "text.pt").write_text("no checkpoint")
    (place / "claims.yaml").write_text(
        "data:\n  demo: {tolerance: 100}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top1": 50})
        + claim([2, 3], 1, ["demo_2f", "demo_3f"], {"top1": 50})
        + claim([3], 1, ["demo_3f"], {"top1": 50})
    )
    words = ["--data", f"demo={place / 'root'}", "--checkpoint", f"demo_2f={tmp_path / 'text.pt'}"]
    status, report, _ = verify(place, *words, processes=2)
    assert status == 1
    assert report["measurements"][-1]["world_size"] == 2
    assert [c["status"] for c in report["claims"]] == ["Not run", "Not run", "Verified"]
    assert all("text.pt" in c["note"] for c in report["claims"][:2])
    status, report, _ = verify(place)
    assert status == 0
    assert report["counts"] == {"Verified": 0, "Not reproduced": 0, "Not run": 3}
    assert report["measurements"] == []
    assert not [path for path in (place / "verified").iterdir() if path.is_dir()]


def test_a_published_data_sets_lists_are_made(place, tmp_path, monkeypatch, capsys):
    """One command: neither the lists nor the class names have to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    root = ARCHIVES["ucf101"](tmp_path / "root")
    for path in list((root / "UCF-101").rglob("*.avi")):
        write_video(path.with_suffix(""), 6, codec="mjpeg", size=(48, 64))
    text = (place / "demo_2f.yaml").read_text()
    text = text.replace(f"{place}/root/train.txt", "data/ucf101/validation_split1.txt")
    (tmp_path / "demo_2f.yaml").write_text(text)
    (tmp_path / "claims.yaml").write_text(
        "data:\n  ucf101: {videos: 3783, tolerance: 100}\nclaims:\n"
        + claim([2], 1, ["demo_2f"], {"top5": 50}, "ucf101")
    )
    words = ["--checkpoints", place / "checkpoints", "--data", f"ucf101={root}"]
    status = cli.main(["verify", "--claims", "claims.yaml", *map(str, words)])
    report = json.loads((tmp_path / "runs" / "verify" / "report.json").read_text())
    assert (status, report["claims"][0]["status"]) == (1, "Not reproduced")
    assert "2 videos" in report["claims"][0]["note"]
    assert "3,783" in report["claims"][0]["note"]
    assert (tmp_path / "data" / "ucf101" / "validation_split1.txt").is_file()


@pytest.mark.parametrize(
    ("measured", "videos", "status"),
    [
        (52.6, 100, "Verified"),
        (52.0, 100, "Verified"),
        (52.61, 100, "Not reproduced"),
        (51.99, 100, "Not reproduced"),
        (52.3, 99, "Not reproduced"),
        (52.3, 101, "Not reproduced"),
        (float("nan"), 100, "Not reproduced"),
    ],
)
def test_only_the_whole_list_within_the_tolerance_verifies(measured, videos, status):
    claim = Claim((Network("ssv1", "a", 1, 1),), "tdn", (8,), "top1", 52.3, 0.3, 100, "a test")
    found = judge(claim, {"top1": measured, "videos": videos})
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
        (["--set", "evaluation.crops=3"], ["evaluation.crops", "data.batch_size"]),
        (["--set", "data.batch_size=many"], ["data.batch_size", "many"]),
    ],
)
def test_mistakes_are_one_line(words, names, monkeypatch, tmp_path, capsys):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo_2f.yaml").write_text(RECIPE.format(frames=2, root="data"))
    (tmp_path / "configs" / "claims.yaml").write_text(
        "data:\n  demo: {tolerance: 1}\nclaims:\n" + claim([2], 1, ["demo_2f"], {"top1": 50})
    )
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(["verify", *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    for name in names:
        assert name in captured.err
    assert not list(tmp_path.rglob("report.*"))
