"""Runs that start from the weights of another."""

from __future__ import annotations

import pytest
import torch

from tdn.errors import UserError
from tests.tdn.training.runs import events, run


def test_a_pretrained_checkpoint_is_the_start(tmp_path, tiny, capsys):
    first = run(tmp_path / "first")
    second = run(
        tmp_path / "second",
        model__pretrained=str(first.last),
        optimizer__lr=1e-12,
        schedule__min_lr=0,
    )
    weights = [
        torch.load(r.last, weights_only=True)["model"]["head.weight"] for r in (first, second)
    ]
    torch.testing.assert_close(*weights)
    assert str(first.last) in events(tmp_path / "second", "start")[0]["pretrained"]
    assert str(first.last) in capsys.readouterr().out


def test_a_pretrained_checkpoint_of_other_classes_gets_a_new_classifier(tmp_path, tiny):
    first = run(tmp_path / "first")
    run(
        tmp_path / "second",
        model__pretrained=str(first.last),
        model__new_head=True,
        model__num_classes=9,
        optimizer__lr=1e-12,
        schedule__min_lr=0,
    )
    assert "head.weight" in events(tmp_path / "second", "start")[0]["pretrained"]
    weights = [
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)["model"]
        for name in ("first", "second")
    ]
    torch.testing.assert_close(*(state["hidden.weight"] for state in weights))
    assert weights[1]["head.weight"].shape == (9, 16)


def test_an_unusable_pretrained_file_is_refused_before_anything_is_trained(tmp_path, tiny):
    with pytest.raises(UserError, match=r"missing\.pt"):
        run(tmp_path, model__pretrained="missing.pt")
    assert not (tmp_path / "log.jsonl").exists()
