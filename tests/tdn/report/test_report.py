"""The page about a run, made of a real evaluation and looked at in a real browser."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tdn.checkpoint import AVERAGED, export_upstream
from tdn.cli import main
from tdn.config_loading import dump_config
from tdn.errors import UserError
from tdn.evaluation.evaluator import evaluate
from tdn.evaluation.scores import Scores
from tdn.report import examples
from tdn.report.examples import choose
from tdn.report.page import write_report
from tdn.report.record import read_run
from tdn.trained import load_trained
from tdn.visualization import explanation
from tests.browser import find_browser
from tests.tdn.trained_networks import NAMES, checkpoint, config, videos
from tests.videos import write_list, write_video

__all__ = ["checkpoint", "config", "videos"]

STEPS = 10


def events(epochs: int = 3) -> list[dict]:
    start = {
        "event": "start", "time": 1.0, "step": 0, "epoch": 1, "epochs": 3, "steps_per_epoch": STEPS,
        "global_batch": 8, "model": "tdn_resnet10", "parameters": 1234567, "optimizer": "sgd",
        "optimizer_backend": "torch", "precision": "fp32", "device": "CPU", "world_size": 2,
        "pretrained": None, "versions": {"torch": "2.13.0", "tdn": "0.1.0"},
    }  # fmt: skip
    found = [start]
    for step in range(5, STEPS * epochs + 1, 5):
        train = {"event": "train", "step": step, "epoch": (step - 1) // STEPS + 1, "clips": 40}
        train |= {"loss": 3 / step if step != 10 else None, "top1": 10.0 * step / STEPS}
        train |= {"clips_per_second": 20.0, "data_wait": 25.0 if step > 10 else 5.0, "lr": 0.01}
        found.append(train | {"gradient_norm": 2.0, "memory": 1.5, "time": float(step)})
        if step % STEPS == 0:
            top1 = {10: 30.0, 20: 50.0, 30: 40.0}[step]
            validation = {"event": "validation", "step": step, "epoch": step // STEPS, "loss": 1.0}
            found.append(validation | {"top1": top1, "top5": 99.0, "clips": 7, "time": float(step)})
    return found


def write_log(folder: Path, lines: list[dict]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def run(tmp_path_factory, checkpoint, config, videos) -> Path:
    """A run folder with an evaluation; one of its class names would be HTML."""
    folder = tmp_path_factory.mktemp("runs") / "mine <b>"
    names = folder.parent / "names.txt"
    names.write_text("\n".join((NAMES[0], NAMES[1], "<i>turning</i> over")))
    more = [write_video(folder.parent / f"{n}", 12 + n, size=(48, 64)) for n in range(4)]
    rows = [(video, number % 3) for number, video in enumerate((*videos, *more))]
    settings = dataclasses.replace(
        config,
        output=str(folder),
        data=dataclasses.replace(
            config.data,
            train_list="train.txt",
            validation_list=str(write_list(folder.parent / "list.txt", rows)),
            classes=str(names),
        ),
        training=dataclasses.replace(config.training, device="cpu"),
    )
    own = folder.parent / "last.pt"
    shutil.copy(checkpoint, own)
    renamed = checkpoint_with_names(own, names.read_text().splitlines())
    evaluate(settings, renamed)
    (folder / "config.yaml").write_text(dump_config(settings))
    end = {"event": "end", "time": 40.0, "step": 30, "epoch": 3, "completed": True, "seconds": 9.0}
    write_log(folder, [*events(), end])
    return folder


def checkpoint_with_names(path: Path, names: list[str]) -> Path:
    import torch

    content = torch.load(path, weights_only=True)
    torch.save(content | {"classes": names}, path)
    return path


@pytest.fixture(scope="module")
def page(run) -> str:
    assert write_report(run, run / "report.html", examples=3, device="cpu") == []
    return (run / "report.html").read_text()


PROBE = """<script>
window.addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll("#all-classes tbody tr")]
    .map(row => [...row.cells].map(cell => cell.textContent.trim()));
  const heads = [...document.querySelectorAll("#all-classes th button")];
  const found = {title: document.title, before: rows(), width: document.body.scrollWidth};
  found.images = [...document.images].map(image => image.naturalWidth);
  const width = element => element.getBoundingClientRect().width;
  found.charts = [...document.querySelectorAll("svg")].map(width);
  found.loaded = performance.getEntriesByType("resource").map(e => e.name)
    .filter(name => !name.startsWith("data:"));
  heads[3].click();
  found.rising = rows();
  heads[3].click();
  found.falling = rows();
  heads[1].click();
  found.byName = rows();
  found.room = window.innerWidth;
  const pre = document.createElement("pre");
  pre.id = "found";
  pre.textContent = JSON.stringify(found);
  document.body.append(pre);
});
</script>"""


@pytest.fixture(scope="module")
def seen(run, page, tmp_path_factory) -> dict:
    """What a browser makes of the page."""
    folder = tmp_path_factory.mktemp("browser")
    probed = folder / "page.html"
    probed.write_text(page.replace("</body>", PROBE + "</body>"))
    quiet = ["background-networking", "component-update", "sync", "gpu", "dev-shm-usage"]
    words = [
        find_browser(),
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        "--window-size=1000,800",
    ]
    words += [f"--disable-{what}" for what in quiet]
    words += [f"--user-data-dir={folder}", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [*words, probed.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    return json.loads(html.unescape(found[1]))


def test_a_browser_shows_it_without_loading_anything(seen):
    assert seen["loaded"] == []
    assert "mine <b>" in seen["title"]
    assert len(seen["images"]) == 1 + 3  # the confusion matrix and the examples
    assert all(width > 200 for width in seen["images"])
    assert len(seen["charts"]) == 6
    assert all(width > 300 for width in seen["charts"])
    assert seen["width"] <= seen["room"]


def test_its_table_has_every_class_and_sorts(seen, run):
    found = read_run(run).by_class
    assert [row[:3] for row in seen["before"]] == [
        [str(label), name, str(found.videos[label])] for label, name in enumerate(found.names)
    ]
    shares = [float(row[3]) for row in seen["rising"]]
    assert shares == sorted(found.accuracy.round(1).tolist())
    assert [float(row[3]) for row in seen["falling"]] == shares[::-1]
    names = [row[1] for row in seen["byName"]]
    assert sorted(names) == sorted(found.names)
    assert names.index("closing") < names.index("opening")


def test_it_tells_what_the_run_reached(page, run):
    text = re.sub(r"<(style|script|svg).*?</\1>", "", page, flags=re.S)
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"top-1 {metrics['top1']:.0f} % 7 videos, 1 view each" in text
    assert f"mean class accuracy {metrics['mean_class_accuracy']:.0f} %" in text
    assert f"Of 7 validation videos {metrics['top1']:.1f} % are right" in text
    assert "top-5" not in text  # of three classes
    assert "best validation top-1 50 % epoch 2" in text
    assert "speed 20.0 clips/s 2 processes" in text
    assert "waiting for data 18.3 %" in text  # (2 x 5 + 4 x 25) / 6
    assert "training time 0 min 12 s" in text
    assert "memory 1.5 GB" in text
    assert "complete, 3 epochs; train.txt" in text
    assert "1,234,567" in text
    assert "<i>turning" not in page


def test_a_run_that_goes_on_and_was_not_evaluated(tmp_path):
    write_log(tmp_path / "run", [*events(2), {"event": "skipped", "step": 7, "reason": "loss"}])
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "st')  # being written
    (tmp_path / "run" / "config.yaml").write_text("data: {train_list: a.txt}\n")
    assert main(["report", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert "not complete" in text
    assert "tdn evaluate" in text
    assert "after step 7" in text
    assert text.count("<svg") == 6


def test_a_run_without_a_step(tmp_path):
    write_log(tmp_path / "run", events(0))
    (tmp_path / "run" / "config.yaml").write_text("data: {train_list: a.txt}\n")
    write_report(tmp_path / "run", tmp_path / "r.html")
    assert "<svg" not in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("lost", ["checkpoint", "video", "list"])
def test_what_can_no_longer_be_drawn_is_told(run, tmp_path, capsys, lost):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    if lost == "video":
        listed = tmp_path / "list.txt"
        entries = (run.parent / "list.txt").read_text().splitlines()
        rows = [tuple(entry.rsplit(" ", 1)) for entry in entries]
        write_list(listed, [(path, int(label)) for path, label in rows])
        place = choose(read_run(copy).scores, 3)[0]
        path = Path(rows[place][0])
        away = path.with_name("away")
        path.rename(away)
    key = "checkpoint" if lost == "checkpoint" else "validation_list"
    if lost != "video":
        metrics[key] = str(tmp_path / "gone")
        (copy / "metrics.json").write_text(json.dumps(metrics))
    try:
        assert main(["report", str(copy), "--examples", "3", "--device", "cpu"]) == 0
    finally:
        if lost == "video":
            away.rename(path)
    told = capsys.readouterr().err
    assert told.count("tdn report:") == 1
    named = str(path) if lost == "video" else str(tmp_path / "gone")
    assert named in told
    assert named in html.unescape((copy / "report.html").read_text())


def copied(run: Path, tmp_path: Path, **metrics: object) -> Path:
    """The run folder elsewhere, with other metrics."""
    copy = tmp_path / "moved"
    shutil.copytree(run, copy)
    known = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps(known | metrics))
    return copy


def test_no_mistake_is_no_list(run, tmp_path):
    copy = copied(run, tmp_path)
    known = read_run(copy).scores
    dataclasses.replace(known, logits=9 * np.eye(3, dtype=np.float32)[known.labels, None]).save(
        copy / "scores.npz"
    )
    write_report(copy, tmp_path / "perfect.html", examples=0)
    assert ("<ol>" in (tmp_path / "perfect.html").read_text()) is False
    assert "every video is predicted as" in (tmp_path / "perfect.html").read_text()


def titles(monkeypatch, folder: Path, count: int = 3) -> tuple[list[list[str]], list[str]]:
    """What stands over the maps of the examples, and what could not be drawn."""
    shown = []
    real = examples.cam_sheet

    def sheet(frames, seconds, rows, side):
        shown.append([row.title for row in rows])
        return real(frames, seconds, rows, side)

    with monkeypatch.context() as patches:
        patches.setattr(examples, "cam_sheet", sheet)
        _, problems = examples.make_examples(read_run(folder), count, "cpu")
    return shown, problems


def test_examples_explain_the_predicted_class_also_where_names_are_numbers(
    run, tmp_path, monkeypatch
):
    names = ["1", "2", "0"]
    shutil.copy(run.parent / "last.pt", tmp_path / "numbers.pt")
    checkpoint = checkpoint_with_names(tmp_path / "numbers.pt", names)
    copy = copied(run, tmp_path, checkpoint=str(checkpoint), class_names=names)
    scores = read_run(copy).scores
    predicted = [scores.probabilities()[place].argmax() for place in choose(scores, 3)]
    shown, problems = titles(monkeypatch, copy)
    assert problems == []
    assert [title.split(": ")[1][0] for _, title, _ in shown] == [names[n] for n in predicted]


def test_examples_take_the_weights_that_were_evaluated(run, tmp_path, monkeypatch):
    import torch

    copy = copied(run, tmp_path, checkpoint=str(tmp_path / "averaged.pt"))
    content = torch.load(run.parent / "last.pt", weights_only=True)
    averaged = {key: value.clone() for key, value in content["model"].items()}
    averaged["classifier.weight"] *= -1
    torch.save(content | {AVERAGED: averaged}, tmp_path / "averaged.pt")
    raw, _ = titles(monkeypatch, copy)
    assert raw == titles(monkeypatch, run)[0]
    shutil.rmtree(copy)
    copied(run, tmp_path, checkpoint=str(tmp_path / "averaged.pt"), averaged_weights=True)
    assert titles(monkeypatch, copy)[0] != raw


def test_examples_of_a_published_checkpoint_and_of_a_run_that_moved(run, tmp_path, monkeypatch):
    """Also: however many there are, the checkpoint is read once."""
    import torch

    published = tmp_path / "published.pth"
    model = load_trained(run.parent / "last.pt").model
    torch.save({"state_dict": export_upstream(model)}, published)
    expected = [[title.split(", ")[-1] for title in shown] for shown in titles(monkeypatch, run)[0]]
    copy = copied(run, tmp_path, checkpoint="checkpoints/last.pt")
    (copy / "checkpoints").mkdir()
    shutil.copy(run.parent / "last.pt", copy / "checkpoints" / "last.pt")
    read = []
    real = explanation.load_trained
    monkeypatch.setattr(
        explanation, "load_trained", lambda *a, **k: (read.append(a), real(*a, **k))[1]
    )
    moved, problems = titles(monkeypatch, copy)
    assert (len(moved), problems, len(read)) == (3, [], 1)
    shutil.rmtree(copy)
    copied(run, tmp_path, checkpoint=str(published))
    shown, problems = titles(monkeypatch, copy)
    assert problems == []
    for found in (shown, moved):
        assert [[title.split(", ")[-1] for title in row] for row in found] == expected


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "log.jsonl"),
        ({"log.jsonl": ""}, "config.yaml"),
        ({"log.jsonl": "", "config.yaml": ""}, "log.jsonl"),
        ({"log.jsonl": None, "config.yaml": "", "metrics.json": "{", "scores.npz": ""}, "metrics"),
    ],
)
def test_what_is_no_run_folder(tmp_path, files, named):
    write_log(tmp_path, events(1))
    log = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").unlink()
    for name, text in files.items():
        (tmp_path / name).write_text(log if text is None else text)
    with pytest.raises(UserError, match=named) as error:
        write_report(tmp_path, tmp_path / "r.html")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "r.html").exists()


def test_options_that_do_not_fit(run, capsys):
    assert main(["report", str(run), "--output", "page.pdf"]) == 2
    assert main(["report", str(run), "--examples", "-1"]) == 2
    told = capsys.readouterr().err
    assert "--output" in told
    assert "--examples" in told


def test_examples_are_certain_mistakes_and_successes_of_different_classes():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    predicted = np.array([1, 1, 0, 0, 1, 2, 2, 0])
    certain = np.array([5, 9, 7, 3, 8, 6, 2, 1], np.float32)
    logits = np.zeros((8, 1, 3), np.float32)
    logits[np.arange(8), 0, predicted] = certain
    scores = Scores(np.arange(8), labels, logits)
    assert choose(scores, 6) == [1, 3, 7, 4, 2, 5]
    assert choose(scores, 3) == [1, 3, 4]
    assert choose(scores, 20)[:4] == [1, 3, 7, 0]
    right = scores.rows(np.array([2, 4, 5, 6]))
    assert choose(right, 3) == [1, 0, 2]
    wrong = scores.rows(np.array([0, 1, 3, 7]))
    assert choose(wrong, 3) == [1, 2, 3]
