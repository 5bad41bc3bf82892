from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn.kernels.short_term_stem import MEAN, STD, centre_frames, frame_differences, short_term_stem
from tests.kernels.images import SIZES, counts, segment_counts, sides


def frames(n, t, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (n, t, 5, height, width, 3), generator=generator, dtype=torch.uint8
    )


def normalised(clips, dtype=torch.float64):
    """What a float pipeline hands over: (N, T, 5, 3, H, W)."""
    mean, std = (torch.tensor(v, dtype=dtype) for v in (MEAN, STD))
    return ((clips.to(dtype) / 255 - mean) / std).permute(0, 1, 2, 5, 3, 4).contiguous()


def by_loops(clips):
    """Differences of normalised frames, pooled pixel by pixel."""
    x = normalised(clips)
    n, t, _, _, height, width = x.shape
    out = torch.empty(n * t, 12, height // 2, width // 2, dtype=torch.float64)
    for image in range(n * t):
        for channel in range(12):
            before = x[image // t, image % t, channel // 3, channel % 3]
            after = x[image // t, image % t, channel // 3 + 1, channel % 3]
            for i in range(height // 2):
                for j in range(width // 2):
                    window = (slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2))
                    out[image, channel, i, j] = (after[window] - before[window]).mean()
    return out


@given(counts, segment_counts, sides, sides, st.integers(0, 99))
def test_uint8_clips_give_what_normalised_floats_give(n, t, height, width, seed):
    clips = frames(n, t, height + 1, width + 1, seed)
    from_bytes = short_term_stem(clips, torch.float64)
    from_floats = short_term_stem(normalised(clips), torch.float64)
    for a, b in zip(from_bytes, from_floats, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (2, 2), (3, 2)])
def test_differences_agree_with_loops_over_pixels(height, width):
    clips = frames(2, 3, height, width)
    torch.testing.assert_close(
        frame_differences(clips, torch.float64), by_loops(clips), rtol=0, atol=1e-13
    )


def test_the_centre_is_the_third_frame():
    clips = torch.zeros(1, 2, 5, 3, 4, 4)
    clips[:, 0, 2], clips[:, 1, 2] = 1, 2
    assert centre_frames(clips).unique(dim=0).flatten(1).unique(dim=1).tolist() == [[1], [2]]


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("form", ["uint8", "floats"])
def test_shapes_and_layout(side, form):
    clips = frames(2, 3, side, side + 1)
    centre, differences = short_term_stem(clips if form == "uint8" else normalised(clips))
    assert centre.shape == (6, 3, side, side + 1)
    assert differences.shape == (6, 12, side // 2, (side + 1) // 2)
    for result in (centre, differences):
        assert result.dtype == torch.float32
        assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["uint8", "floats"])
def test_half_precision_is_the_exact_result_rounded_once(dtype, form):
    clips = frames(2, 2, 10, 14)
    exact = short_term_stem(clips, torch.float64)
    given = clips if form == "uint8" else normalised(clips, torch.float32)
    for a, b in zip(short_term_stem(given, dtype), exact, strict=True):
        assert a.dtype == dtype
        # The second term is float32's own rounding where the exact result is near zero.
        tolerance = torch.finfo(dtype).eps * b.abs() / 2 + 1e-6
        assert ((a.double() - b).abs() <= tolerance).all()


def test_still_clips_have_no_differences():
    clips = frames(1, 2, 8, 8)[:, :, :1].expand(-1, -1, 5, -1, -1, -1)
    assert frame_differences(clips).count_nonzero() == 0


def test_gradients_with_respect_to_float_clips():
    clips = normalised(frames(1, 2, 5, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: short_term_stem(x, torch.float64), (clips,))
