"""Looks through a DALI graph, against PIL, scikit-image and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import skimage
from nvidia.dali import fn, pipeline_def, types
from PIL import Image, ImageEnhance, ImageOps

from tdn.config import DataConfig
from tdn.pipelines.graphs.photometric_nodes import Effects, look_values, photometric
from tdn.pipelines.sampling.photometric import (
    FILL,
    Box,
    ColorChange,
    Look,
    brightness,
    contrast,
    draw_color_change,
    grayscale,
    hue,
    posterize,
    saturation,
    solarize,
)

FRAMES = np.stack([skimage.data.astronaut()[y : y + 90, 150 : 150 + 120] for y in (0, 20, 40)])
MAGNITUDES = (-1.0, -0.3, 0.1, 0.7, 1.0)


@pipeline_def(enable_conditionals=True, num_threads=1, device_id=None, exec_dynamic=True)
def graph(source, effects: Effects, layout: str, on_gpu: bool):
    inputs = (("frames", types.UINT8, len(layout)), *effects.inputs)
    frames, *values = fn.external_source(
        source=source,
        num_outputs=len(inputs),
        dtype=[dtype for _, dtype, _ in inputs],
        ndim=[dimensions for _, _, dimensions in inputs],
    )
    frames = fn.reinterpret(frames.gpu() if on_gpu else frames, layout=layout)
    return photometric(frames, values, effects)


def shown(looks: list[Look], frames: np.ndarray = FRAMES, layout: str = "FHWC") -> list[np.ndarray]:
    """The frames as each of the looks."""
    effects = Effects(looks[0].color is not None, looks[0].erased is not None)
    columns = [[frames] * len(looks), *zip(*(look_values(look) for look in looks), strict=True)]
    pipeline = graph(
        lambda: [list(column) for column in columns], effects, layout, False, batch_size=len(looks)
    )
    output = pipeline.run()[0]
    return [np.array(output[index]) for index in range(len(looks))]


def recoloured(*changes: ColorChange) -> list[np.ndarray]:
    return shown([Look(color=change) for change in changes])


def by_pil(transform) -> np.ndarray:
    """Each frame through a function of PIL images."""
    return np.stack([np.asarray(transform(Image.fromarray(frame))) for frame in FRAMES])


def assert_close(found: np.ndarray, expected: np.ndarray, within: int, share: float = 1) -> None:
    """Equal within some levels, in all but a share of the values to the bit."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= within
    assert np.mean(difference > 0) <= share
    assert found.dtype == np.uint8


def rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255)


def test_brightness_and_saturation_are_pils_within_a_level():
    """PIL cuts off what it computes, DALI rounds; PIL's grey is rounded before it is mixed."""
    factors = [1 + 0.9 * magnitude for magnitude in MAGNITUDES]
    found = recoloured(*(brightness(ColorChange(), m) for m in MAGNITUDES))
    for frames, f in zip(found, factors, strict=True):
        assert_close(frames, by_pil(lambda p, f=f: ImageEnhance.Brightness(p).enhance(f)), 1)
    found = recoloured(*(saturation(ColorChange(), m) for m in MAGNITUDES))
    for frames, f in zip(found, factors, strict=True):
        assert_close(frames, by_pil(lambda p, f=f: ImageEnhance.Color(p).enhance(f)), 2)


def test_contrast_is_a_factor_about_middle_grey():
    for frames, m in zip(
        recoloured(*(contrast(ColorChange(), m) for m in MAGNITUDES)), MAGNITUDES, strict=True
    ):
        assert_close(frames, rounded(127.5 + (1 + 0.9 * m) * (FRAMES - 127.5)), 1, 0.01)


def test_hue_turns_the_chroma_of_yiq():
    for frames, m in zip(
        recoloured(*(hue(ColorChange(), m) for m in MAGNITUDES)), MAGNITUDES, strict=True
    ):
        y, i, q = np.moveaxis(skimage.color.rgb2yiq(FRAMES / 255), -1, 0)
        turned = (i + 1j * q) * np.exp(1j * np.pi / 2 * m)
        yiq = np.stack((y, turned.real, turned.imag), -1)
        assert_close(frames, rounded(255 * skimage.color.yiq2rgb(yiq)), 1, 0.02)


def test_grayscale_is_pils():
    (frames,) = recoloured(grayscale(ColorChange(), 0.5))
    assert_close(frames, by_pil(lambda p: p.convert("L").convert("RGB")), 1)
    assert np.ptp(frames, axis=-1).max() == 0


def test_solarize_and_posterize_are_exactly_pils():
    for frames, m in zip(
        recoloured(*(solarize(ColorChange(), m) for m in MAGNITUDES)), MAGNITUDES, strict=True
    ):
        limit = round(255 * (1 - abs(m)))
        assert np.array_equal(frames, by_pil(lambda p, t=limit: ImageOps.solarize(p, t)))
    for frames, m in zip(
        recoloured(*(posterize(ColorChange(), m) for m in MAGNITUDES)), MAGNITUDES, strict=True
    ):
        bits = 8 - round(4 * abs(m))
        assert np.array_equal(frames, by_pil(lambda p, b=bits: ImageOps.posterize(p, b)))


def test_operations_follow_each_other_in_floating_point():
    """Linear ones in the order they are drawn, without rounding in between; then the tones."""
    change = ColorChange()
    for operation, m in ((posterize, 0.5), (contrast, 0.5), (saturation, -0.4), (solarize, 0.3)):
        change = operation(change, m)
    (found,) = recoloured(brightness(change, -0.2))
    x = 127.5 + 1.45 * (FRAMES - 127.5)
    grey = x @ np.array([0.299, 0.587, 0.114])
    x = rounded(0.82 * (grey[..., None] + 0.64 * (x - grey[..., None])))
    near = np.stack([np.clip(x + d, 0, 255) for d in (-1, 0, 1)]).astype(int)
    near = np.where(near >= round(255 * 0.7), 255 - near, near) & 0b11111100
    assert (found == near).any(0).all()


def test_what_is_not_changed_is_the_same_to_the_bit():
    rng = np.random.default_rng(0)
    drawn = [draw_color_change(3, 0.5, rng) for _ in range(3)]
    looks = [Look(ColorChange(), Box()), *(Look(change, Box(5, 6, 7, 8)) for change in drawn)]
    plain, *changed = shown(looks)
    assert np.array_equal(plain, FRAMES)
    assert all(not np.array_equal(frames, FRAMES) for frames in changed)


def test_one_clips_look_does_not_touch_the_others():
    rng = np.random.default_rng(1)
    changes = [draw_color_change(2, 0.6, rng) for _ in range(12)]
    assert {change.mixes for change in changes} == {True, False}
    together = recoloured(*changes)
    assert all(
        np.array_equal(a, recoloured(change)[0])
        for a, change in zip(together[::4], changes[::4], strict=True)
    )


@pytest.mark.parametrize("box", [Box(), Box(0, 0, 90, 120), Box(80, 100, 10, 20), Box(3, 7, 1, 50)])
def test_a_box_is_erased_in_every_frame(box):
    (found,) = shown([Look(erased=box)])
    expected = FRAMES.copy()
    y, x, height, width = box
    expected[:, y : y + height, x : x + width] = FILL
    assert np.array_equal(found, expected)


def test_the_fill_is_what_the_network_normalises_to_nearly_zero():
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    assert np.abs((np.array(FILL) / 255 - mean) / std).max() < 0.01


def test_a_video_and_its_single_pictures_get_the_same_look():
    rng = np.random.default_rng(2)
    looks = [Look(draw_color_change(3, 0.4, rng), Box(9, 8, 20, 30)) for _ in range(4)]
    videos = shown(looks)
    for index, frame in enumerate(FRAMES):
        pictures = shown(looks, frame, "HWC")
        assert all(np.array_equal(v[index], p) for v, p in zip(videos, pictures, strict=True))


def test_only_what_is_configured_is_in_the_graph():
    names = ("CoordTransform", "BrightnessContrast", "ArithmeticGenericOp", "Erase")
    for ops, erasing, expected in (
        (0, 0.0, ()),
        (2, 0.0, names[:3]),
        (0, 0.5, names[3:]),
        (1, 1.0, names),
    ):
        effects = Effects.of(DataConfig(color_ops=ops, erasing=erasing))
        for on_gpu in (False, True):
            pipeline = graph(lambda: None, effects, "FHWC", on_gpu, batch_size=1)
            text = pipeline.serialize().decode("latin-1")
            assert tuple(name for name in names if name in text) == expected


def test_a_graph_for_a_gpu_can_be_defined_without_one():
    """DALI refuses there an operation that has no form for a GPU."""
    cpu, gpu = (graph(lambda: None, Effects(True, True), "FHWC", on, batch_size=1) for on in (0, 1))
    assert gpu.serialize().count(b"gpu") > cpu.serialize().count(b"gpu") + 5
