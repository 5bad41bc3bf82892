"""Decoding pictures: a tiny JPEG by nvJPEG on a GPU, or by DALI on the CPU."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tdn.doctor import dali
from tdn.doctor.findings import Finding, fail, ok
from tdn.doctor.gpus import has_gpu

_TOLERANCE = 12
"""Grey levels between a picture and what is decoded of it."""


def check() -> Iterator[Finding]:
    """Decode a JPEG."""
    gpu = has_gpu()
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 60
    picture[:, 48:] = 200
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=95)
    try:
        decoded = dali.decode_picture(file.getvalue(), gpu)
        right = decoded.shape == picture.shape and _largest_error(decoded, picture) < _TOLERANCE
        problem = "" if right else "the picture is not what was encoded"
    except Exception as error:  # whatever decoders, the driver and the libraries may raise
        problem = dali.reason(error)
    yield judge(problem, gpu)


def _largest_error(decoded: dali.Pixels, picture: dali.Pixels) -> int:
    return int(np.abs(decoded.astype(int) - picture).max())


def judge(problem: str, gpu: bool) -> Finding:
    """What to say of decoding a JPEG; no problem is an empty text."""
    decoder = "DALI with nvJPEG" if gpu else "DALI on the CPU"
    if problem:
        packages = ("nvidia-nvjpeg",) if gpu else ()
        return fail("jpeg", f"{decoder}: {problem}", dali.remedy(problem, *packages))
    return ok("jpeg", f"decoded by {decoder}")
