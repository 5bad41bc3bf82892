from __future__ import annotations

import pytest

from tdn.preflight import facts
from tdn.preflight.facts import judge, judge_clock
from tdn.preflight.request import Request, read_request

HERE = {"torch": "2.13.0", "driver": "580.65", "code": "abc", "list a.txt": "SHA-256 1"}
NAMES = ("a", "b", "c")


def judged(**changes):
    return list(judge(NAMES, [HERE, HERE | changes, HERE]))


def test_nodes_that_are_alike():
    assert judged() == []
    assert list(judge((), ())) == []


@pytest.mark.parametrize(
    ("key", "level"),
    [("torch", "fail"), ("code", "fail"), ("list a.txt", "fail"), ("driver", "warn")],
)
def test_the_node_that_differs_is_named(key, level):
    ((name, finding),) = judged(**{key: "other"})
    assert (name, finding.level, finding.name) == ("b", level, key)
    assert "other" in finding.found
    assert HERE[key] in finding.found
    assert finding.remedy


def test_the_code_counts_and_not_what_git_says_of_it():
    commits = [HERE | {"commit": "1234567"}, HERE | {"commit": "1234567-dirty"}]
    assert list(judge("ab", commits)) == []
    ((name, finding),) = judge("ab", [commits[0], commits[1] | {"code": "def"}])
    assert name == "b"
    assert "1234567-dirty" in finding.found
    seen = facts.look(Request(), 0)
    assert seen["commit"] not in seen["code"]


def test_a_list_that_one_node_does_not_see(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a.mp4 0\n")
    request = Request(lists=(str(path),))
    there = facts.look(request, 0)
    path.unlink()
    gone = facts.look(request, 0)
    ((name, finding),) = judge(("a", "b", "c"), [there, there, gone])
    assert (name, finding.level) == ("c", "fail")
    assert str(path) in finding.name
    path.mkdir()
    assert facts.look(request, 0) != there


def test_what_a_node_is_made_of(monkeypatch):
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth0")  # hosts may name their cards as they like
    seen = facts.look(Request(configuration="123"), 2)
    assert seen["settings of NCCL"] == "NCCL_ALGO=Ring"
    assert (seen["configuration"], seen["device"]) == ("123", "cuda")
    assert seen["torch"]
    assert seen["DALI"]
    assert facts.look(Request(), 0)["device"] == "cpu"


def test_clocks_apart():
    assert list(judge_clock(1.0)) == []
    for ahead, word in ((60.0, "ahead"), (-60.0, "behind")):
        (finding,) = judge_clock(ahead)
        assert finding.level == "warn"
        assert word in finding.found


def test_a_request_is_read_and_not_carried_out(tmp_path):
    assert read_request([]) == Request()
    words = ["train", "--config", "configs/demo.yaml", "--profile", "1..2"]
    words += ["--data.train_list", "a.txt", "--data.validation_list", "b.txt", "--output"]
    one = read_request([*words, str(tmp_path / "x"), "--training.device", "cpu"])
    assert one.output == tmp_path / "x"
    assert not one.on_gpu
    assert not one.output.exists()
    assert one.lists == ("a.txt", "b.txt")
    assert "--profile" not in one.words
    same = read_request([*words, str(tmp_path / "x"), "--training.device=cpu"])
    assert one.configuration == same.configuration
    assert one.configuration != read_request([*words, str(tmp_path / "y")]).configuration
    bad = read_request(["train", "--config", str(tmp_path / "none.yaml")])
    assert bad.words
    assert bad.output is None
    assert read_request(["doctor"]) == Request()
    assert read_request(["summary", *words[1:3]]).output is None
