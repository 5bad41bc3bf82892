from __future__ import annotations

from pathlib import Path

import pytest

from tdn.config_loading import config_to_dict
from tdn.errors import UserError
from tdn.training.elastic import keep_global_batch
from tests.tdn.synthetic import tiny_config

LAST = Path("last.pt")


def checkpoint(clips: int, batch: int, accumulate: int = 1) -> dict:
    given = tiny_config("run", data__batch_size=batch, training__accumulate=accumulate)
    return {"global_batch": clips, "config": config_to_dict(given)}


def shared(batch: int, accumulate: int, processes: int, former: dict) -> tuple[int, int]:
    given = tiny_config("run", data__batch_size=batch, training__accumulate=accumulate)
    config = keep_global_batch(given, former, LAST, processes)
    assert (given.data.batch_size, given.training.accumulate) == (batch, accumulate)
    return config.data.batch_size, config.training.accumulate


@pytest.mark.parametrize(
    ("clips", "batch", "accumulate", "processes", "expected"),
    [
        (64, 8, 1, 8, (8, 1)),
        (64, 8, 1, 4, (8, 2)),
        (64, 8, 1, 1, (8, 8)),
        (64, 8, 1, 16, (4, 1)),
        (64, 8, 1, 64, (1, 1)),
        (64, 8, 2, 4, (8, 2)),
        (64, 8, 2, 8, (8, 1)),
        (24, 8, 1, 2, (6, 2)),
        (24, 8, 1, 1, (8, 3)),
        (14, 7, 1, 1, (7, 2)),
        (12, 8, 1, 2, (6, 1)),
    ],
)
def test_a_step_keeps_its_clips_and_no_process_gets_more_at_a_time(
    clips, batch, accumulate, processes, expected
):
    found = shared(batch, accumulate, processes, checkpoint(clips, batch, accumulate))
    assert found == expected
    assert found[0] * found[1] * processes == clips


def test_another_division_that_is_given_is_taken():
    assert shared(2, 4, 2, checkpoint(16, 8)) == (2, 4)


@pytest.mark.parametrize(
    ("batch", "accumulate", "processes", "remedy"),
    [
        (4, 1, 2, "data.batch_size 4 and training.accumulate 2"),
        (16, 1, 2, "data.batch_size 8 and training.accumulate 1"),
        (8, 3, 1, "data.batch_size 8 and training.accumulate 2"),
    ],
)
def test_another_batch_that_is_given_is_refused_with_what_to_type(
    batch, accumulate, processes, remedy
):
    former = checkpoint(16, 8)
    with pytest.raises(UserError, match=r"last\.pt") as error:
        shared(batch, accumulate, processes, former)
    assert remedy in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("clips", "remedy"), [(8, "start 1, 2, 4 or 8"), (2, "start 1 or 2"), (1, "start 1")]
)
def test_processes_that_do_not_divide_the_clips_are_refused_with_those_that_do(clips, remedy):
    with pytest.raises(UserError) as error:
        shared(clips, 1, 3, checkpoint(clips, clips))
    assert str(error.value).endswith(remedy)


def test_what_the_division_breaks_is_refused():
    former = checkpoint(8, 8)
    given = tiny_config("run", training__mixup=0.2)
    with pytest.raises(UserError, match=r"training\.mixup"):
        keep_global_batch(given, former, LAST, 8)
