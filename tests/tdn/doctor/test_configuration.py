from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tdn.doctor import data, processors
from tdn.doctor.configuration import Sizes, check, judge_threads
from tdn.doctor.data import SAMPLE, Clips, Memory, judge, judge_memory
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.streaming.memory import MemoryNeed
from tests.sources import add_to_tar
from tests.videos import write_list, write_video

RECIPE = """
model: {name: tdn_resnet10, num_segments: 2, num_classes: 3, width: 8}
data: {batch_size: 2, crop_size: 48, short_side: 48, num_threads: 1}
training: {device: cpu}
"""
KNOWN = Clips("list.txt", 100, 100, 100, decoders="100 vp9 by DALI", highest=2)
NEED = MemoryNeed(device=2 * 10**9, host=10**9, pixels=10**6, gpu=False)
MEMORY = Memory(NEED, on_gpu=False, processes=1, free=16 * 10**9, device=0)


@pytest.fixture
def listed(tmp_path):
    """A list of more clips than are opened; all are the same file."""
    video = write_video(tmp_path / "clip", 6, codec="mjpeg")
    return write_list(tmp_path / "list.txt", [(video.name, i % 3) for i in range(40)])


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def findings_of(recipe, **keys):
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    return {finding.name: finding for finding in check(str(recipe), *words)}


def of_lists(recipe, listed, **keys):
    lists = {"data.train_list": listed, "data.validation_list": listed}
    output = {"output": recipe.parent / "runs" / "mine"}
    return findings_of(recipe, **{**lists, **output, **keys})


def test_a_configuration_that_fits(recipe, listed):
    before = set(recipe.parent.iterdir())
    found = of_lists(recipe, listed)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert list(found) == [
        "configuration",
        "device",
        "data.num_threads",
        "network",
        "output",
        "data.train_list",
        "train memory",
        "data.validation_list",
        "validation memory",
    ]
    clips = found["data.train_list"].found
    assert "40 clips" in clips
    assert f"{SAMPLE} of them" in clips
    assert "mjpeg" in clips
    assert set(recipe.parent.iterdir()) == before
    assert not any(Path(os.environ["TDN_CACHE"]).rglob("*"))


def test_a_mistake_in_the_configuration_is_all_there_is_to_say(recipe):
    (finding,) = findings_of(recipe, **{"data.batchsize": 3}).values()
    assert finding.level == "fail"
    assert "data.batchsize" in finding.found
    assert "data.batch_size" in finding.remedy
    (finding,) = findings_of(recipe.with_name("none.yaml")).values()
    assert "none.yaml" in finding.found


def test_lists_may_be_given_later(recipe):
    found = findings_of(recipe)
    assert found["data.train_list"].level == "warn"
    assert "--data.train_list" in found["data.train_list"].remedy
    assert "train memory" not in found


def test_a_list_that_is_not_there(recipe, listed):
    found = of_lists(recipe, listed, **{"data.train_list": "none.txt"})
    assert found["data.train_list"].level == "fail"
    assert "none.txt" in found["data.train_list"].found
    assert found["data.validation_list"].level == "ok"


def test_clips_that_are_not_there(recipe, listed, tmp_path):
    (tmp_path / "empty").mkdir()
    found = of_lists(recipe, listed, **{"data.root": tmp_path / "empty"})
    assert found["data.train_list"].level == "fail"
    assert "--data.root" in found["data.train_list"].remedy
    assert "train memory" not in found


def test_labels_past_the_classes(recipe, listed):
    found = of_lists(recipe, listed, **{"model.num_classes": 2})
    assert found["data.train_list"].level == "fail"
    assert "--model.num_classes 3" in found["data.train_list"].remedy


def test_a_memory_limit(recipe, listed):
    found = of_lists(recipe, listed, **{"data.memory_limit": 1e-6})
    assert found["data.train_list"].level == "ok"
    assert found["train memory"].level == "fail"
    assert "data.memory_limit" in found["train memory"].found
    assert "data.batch_size" in found["train memory"].remedy


def test_a_manifest_is_taken_as_it_is(recipe, listed, tmp_path, monkeypatch):
    index_list(listed, tmp_path / "all.arrow", progress=False)
    monkeypatch.setattr(data, "index_list", lambda *_, **__: pytest.fail("is indexed again"))
    found = of_lists(recipe, tmp_path / "all.arrow")["data.train_list"].found
    assert "40 clips" in found
    assert "of them opened" not in found


def test_a_list_that_was_indexed_is_known_until_it_changes(recipe, listed):
    manifest_of(listed, progress=False)
    assert "of them opened" not in of_lists(recipe, listed)["data.train_list"].found
    write_list(listed, [("clip.avi", 0)] * 50)
    later = listed.stat().st_mtime + 60
    os.utime(listed, (later, later))
    found = of_lists(recipe, listed)["data.train_list"].found
    assert "50 clips" in found
    assert f"{SAMPLE} of them opened" in found


def test_shards_are_listed_only(recipe, listed, tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "a-0.tar", "w") as tar:
        for number in range(4):
            add_to_tar(tar, f"{number}.avi", (tmp_path / "clip.avi").read_bytes())
            add_to_tar(tar, f"{number}.cls", b"1")
    found = of_lists(recipe, listed, **{"data.train_list": tmp_path / "a-*.tar"})
    assert found["data.train_list"].level == "ok"
    assert "4 clips" in found["data.train_list"].found
    assert "train memory" not in found


def test_pretrained_weights_that_are_not_there(recipe, listed):
    found = of_lists(recipe, listed, **{"model.pretrained": "none.pt"})
    assert found["model.pretrained"].level == "fail"
    assert "none.pt" in found["model.pretrained"].found


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there(recipe, listed):
    found = of_lists(recipe, listed, **{"training.device": "cuda"})
    assert found["device"].level == "fail"
    assert "training.device" in found["device"].found
    assert found["data.train_list"].level == "ok"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.backend", "apex"),
        ("training.precision", "tf32"),
        ("training.compile", "reduce-overhead"),
    ],
)
@pytest.mark.usefixtures("no_gpu")
def test_what_is_asked_for_without_a_gpu(recipe, listed, key, value):
    found = of_lists(recipe, listed, **{key: value})
    assert found["device"].level == "fail"
    assert key in found["device"].found


def test_an_output_folder_that_cannot_be(recipe, listed):
    found = of_lists(recipe, listed, output=recipe / "runs")
    assert found["output"].level == "fail"
    assert "--output" in found["output"].remedy


@pytest.mark.parametrize(
    ("threads", "processes", "cores", "level"),
    [(2, 1, 2, "ok"), (2, 8, 16, "ok"), (4, 8, 16, "warn"), (3, 1, 2, "warn"), (2, 8, 4, "warn")],
)
def test_decoding_threads(threads, processes, cores, level):
    finding = judge_threads(threads, processes, cores)
    assert finding.level == level
    if level == "warn":
        assert finding.remedy.split()[-1] == str(max(1, cores // processes))


def test_sizes_of_a_network():
    sgd, adamw = Sizes(10**6, 1), Sizes(10**6, 2)
    assert (sgd.memory, sgd.checkpoint) == (12 * 10**6, 8 * 10**6)
    assert (adamw.memory, adamw.checkpoint) == (16 * 10**6, 12 * 10**6)


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "ok", "all usable"),
        ({"highest": 3}, "fail", "--model.num_classes 4"),
        ({"names": 3}, "ok", ""),
        ({"names": 5}, "fail", "--model.num_classes 5"),
        ({"usable": 98, "problem": "a.mp4: is empty"}, "warn", "a.mp4: is empty"),
        ({"usable": 0, "problem": "a.mp4: is empty"}, "fail", "--data.root"),
        ({"usable": 10, "problem": "a.mp4: is empty"}, "fail", "--data.batch_size 5"),
        ({"known": 16, "usable": 16}, "ok", "16 of them opened"),
        ({"known": 16, "usable": 10, "problem": "a: b"}, "warn", "tdn index"),
        ({"known": 0, "usable": 0}, "ok", "not indexed"),
    ],
)
def test_clips(changes, level, words):
    finding = judge("data.train_list", KNOWN._replace(**changes), 3, batch=32, processes=2)
    assert finding.level == level
    assert words in str(finding)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"free": 5 * 10**9}, "warn"),
        ({"processes": 8}, "warn"),
        ({"on_gpu": True, "device": 80 * 10**9, "free": 3 * 10**9}, "ok"),
        ({"on_gpu": True, "device": 3 * 10**9}, "warn"),
        ({"on_gpu": True, "device": 80 * 10**9, "free": 10**9}, "warn"),
    ],
)
def test_memory(changes, level):
    finding = judge_memory("train memory", MEMORY._replace(**changes))
    assert finding.level == level
    assert ("--data.batch_size" in finding.remedy) == (level == "warn")


def test_memory_is_what_may_still_be_taken(recipe, listed, monkeypatch):
    little = processors.look()._replace(free_memory=1000)
    monkeypatch.setattr(data.processors, "look", lambda: little)
    assert of_lists(recipe, listed)["train memory"].level == "warn"


def test_the_command_looks_at_a_configuration(recipe, listed):
    """As a user types it; of the checks only the configuration's."""
    code = (
        "from tdn.doctor import examination; from tdn import cli\n"
        "examination.CHECKS = ()\n"
        f"raise SystemExit(cli.main(['doctor', '--config', {str(recipe)!r}, "
        f"'--data.train_list', {str(listed)!r}, '--data.root', '/nowhere']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 1, done.stderr
    assert "fail  data.train_list" in done.stdout
    assert "/nowhere" in done.stdout
