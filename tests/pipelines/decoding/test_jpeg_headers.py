from __future__ import annotations

import io
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tdn.pipelines.decoding.jpeg_headers import HeaderError, jpeg_size
from tests.pipelines.loading_tasks import answered
from tests.videos import numbered_frame


def jpeg(mode: str = "RGB", size: tuple[int, int] = (75, 101), **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(numbered_frame(77, *size)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    return jpeg(exif=exif)


GOOD = {
    "usual": jpeg(),
    "progressive": jpeg(progressive=True),
    "grey": jpeg("L"),
    "exif": with_exif(),
    "comment": jpeg(comment=b"a comment"),
    "small": jpeg(size=(1, 1)),
}


@pytest.mark.parametrize("name", GOOD)
def test_sizes_are_pillows(name):
    with Image.open(io.BytesIO(GOOD[name])) as picture:
        assert jpeg_size(GOOD[name]) == picture.size


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no picture", jpeg("CMYK"), b"\x89PNG\r\n"])
def test_what_dali_cannot_read_is_refused(data):
    with pytest.raises(HeaderError):
        jpeg_size(data)


def test_a_file_that_ends_in_its_header_is_refused():
    data = GOOD["usual"]
    scan = data.index(b"\xff\xda") + 14
    for end in range(scan):
        with pytest.raises(HeaderError):
            jpeg_size(data[:end])
    assert jpeg_size(data[:scan]) == (101, 75)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused(data):
    for file in (data, GOOD["usual"][:100] + data, b"\xff\xd8" + data):
        with suppress(HeaderError):
            assert all(0 <= side < 1 << 16 for side in jpeg_size(file))


def test_dali_reports_what_passes_and_is_damaged():
    """Damage in the header that passes the check: DALI's own parser must not stumble over it.

    Where that fails for one picture of a large batch, the process crashes.
    """
    rng = random.Random(5)
    passing: list[bytes] = []
    while len(passing) < 40:
        data = bytearray(GOOD[rng.choice(sorted(GOOD))])
        for _ in range(rng.randrange(1, 10)):
            data[rng.randrange(min(len(data), 650))] = rng.randrange(256)
        try:
            if jpeg_size(bytes(data)) == (101, 75):
                passing.append(bytes(data))
        except HeaderError:
            continue
    found = answered("decode_pictures", passing, 60.0)
    assert len(found) == len(passing)
    assert "" in found  # some damage is in what says nothing about the picture
    assert not any("nvImageCodec failure" in failure for failure in found)
