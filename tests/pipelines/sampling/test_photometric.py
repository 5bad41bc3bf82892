from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.config import DataConfig
from tdn.pipelines.sampling import photometric
from tdn.pipelines.sampling.photometric import (
    OPERATIONS,
    Box,
    ColorChange,
    Look,
    draw_box,
    draw_color_change,
    draw_look,
)
from tdn.pipelines.sampling.randomness import Purpose, generator

TARGET = (48, 64)


def plain(look: Look):
    color = look.color and (*look.color._replace(matrix=None), look.color.matrix.tolist())
    return color, look.erased


def looks(count: int = 200, seed: int = 0, **data) -> list[Look]:
    return [draw_look(DataConfig(**data), TARGET, seed, 0, position) for position in range(count)]


def test_nothing_is_drawn_unless_configured():
    assert draw_look(DataConfig(), TARGET, 0, 0, 0) == Look(None, None)
    (look,) = looks(1, color_ops=2)
    assert look.erased is None
    (look,) = looks(1, erasing=1.0)
    assert look.color is None


def test_a_look_is_a_pure_function_of_seed_epoch_and_position():
    data = DataConfig(color_ops=2, erasing=0.5)
    draws = {
        key: plain(draw_look(data, TARGET, *key))
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len({str(value) for value in draws.values()}) == 4
    assert plain(draw_look(data, TARGET, 0, 1, 0)) == draws[0, 1, 0]


def test_colour_and_erasing_do_not_share_draws():
    both = looks(color_ops=3, erasing=0.5)
    assert [plain(a)[0] for a in both] == [plain(a)[0] for a in looks(color_ops=3)]
    assert [a.erased for a in both] == [a.erased for a in looks(erasing=0.5)]


def test_each_has_a_stream_of_its_own(monkeypatch):
    """So turning one on changes no other draw."""
    used = []

    def spy(seed, epoch, position, purpose):
        used.append(purpose)
        return generator(seed, epoch, position, purpose)

    monkeypatch.setattr(photometric, "generator", spy)
    looks(1, color_ops=1, erasing=0.5)
    assert used == [Purpose.COLOR, Purpose.ERASING]
    assert len(set(Purpose)) == len(Purpose.__members__)


def test_erasing_has_the_probability_that_is_asked_for():
    for probability in (0.25, 1.0):
        drawn = [look.erased != Box() for look in looks(1000, erasing=probability)]
        assert abs(np.mean(drawn) - probability) < 4 * 0.5 / np.sqrt(len(drawn))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_a_box_lies_in_the_picture_and_has_a_share_of_it(height, width, seed):
    y, x, rows, columns = draw_box((height, width), np.random.default_rng(seed))
    assert 0 <= y <= y + rows <= height
    assert 0 <= x <= x + columns <= width
    assert rows * columns <= 0.34 * height * width + height + width


def test_boxes_have_the_published_areas_and_shapes():
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box((200, 200), rng) for _ in range(2000)])
    assert (boxes[:, 2] > 0).all()
    areas = boxes[:, 2] * boxes[:, 3] / 200**2
    aspects = np.log(boxes[:, 3] / boxes[:, 2])
    assert 0.019 < areas.min() < 0.03
    assert 0.32 < areas.max() < 0.335
    assert abs(np.mean(areas) - 0.17) < 0.02
    assert abs(aspects.mean()) < 0.1
    assert np.abs(aspects).max() < np.log(1 / 0.3) + 0.05
    assert set(np.unique(boxes[:, 0])) >= set(range(60))


@pytest.mark.parametrize("count", range(len(OPERATIONS) + 1))
def test_different_operations_are_drawn(count):
    rng = np.random.default_rng(count)
    kinds = set()
    for _ in range(100):
        change = draw_color_change(count, 0.5, rng)
        names = [words.split()[0] for words in change.operations]
        assert len(names) == len(set(names)) == count
        kinds |= set(names)
    assert len(kinds) == (len(OPERATIONS) if count else 0)


def test_up_and_down_are_equally_likely():
    rng = np.random.default_rng(0)
    changes = [draw_color_change(7, 0.5, rng) for _ in range(800)]
    for up, down in (("brightness x1.45", "brightness x0.55"), ("hue +45", "hue -45")):
        ups, downs = (
            sum(any(words.startswith(w) for words in change.operations) for change in changes)
            for w in (up, down)
        )
        assert ups + downs == 800
        assert abs(ups - 400) < 4 * np.sqrt(200)


def test_a_magnitude_of_nothing_changes_no_colour():
    change = ColorChange()
    for operation in OPERATIONS:
        if operation.__name__ not in ("grayscale", "solarize"):
            change = operation(change, 0.0)
    np.testing.assert_allclose(change.matrix, np.eye(3, 4), atol=1e-12)
    assert change.kept_bits == 255


def test_whether_a_matrix_mixes():
    for operation in OPERATIONS:
        expected = operation.__name__ in ("saturation", "hue", "grayscale")
        assert operation(ColorChange(), 0.5).mixes == expected
