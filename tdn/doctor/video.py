"""Decoding video: a tiny clip of each codec, by the decoder that training would use for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import av
import numpy as np

from tdn.doctor import dali
from tdn.doctor.findings import Finding, fail, ok, warn
from tdn.doctor.gpus import has_gpu
from tdn.doctor.remedies import install
from tdn.pipelines.decoding.decoders import video_by_dali
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.encoding import Codec, encode_video

CODECS = {
    "h264": Codec("libx264", "mp4", ".mp4", "yuv420p", {}),
    "hevc": Codec("libx265", "mp4", ".mp4", "yuv420p", {"x265-params": "pools=none"}),
    "vp8": Codec("libvpx", "webm", ".webm", "yuv420p", {}),
    "vp9": Codec("libvpx-vp9", "webm", ".webm", "yuv420p", {"cpu-used": "8"}),
    "av1": Codec("libsvtav1", "mp4", ".mp4", "yuv420p", {"preset": "10"}),
    "mpeg4": Codec("mpeg4", "mp4", ".mp4", "yuv420p", {}),
    "mjpeg": Codec("mjpeg", "avi", ".avi", "yuvj420p", {}),
}
"""What videos are found in, by FFmpeg's names, and how to make such a clip."""
_PUBLISHED = ("h264", "vp9")
"""Of Kinetics, UCF101 and HMDB51 as they are passed on, and of Something-Something V2."""
FRAMES, WIDTH, HEIGHT = 8, 192, 160
"""Of a clip; NVDEC takes HEVC from 144 pixels."""
_TOLERANCE = 12
"""Grey levels between a frame and what is decoded of it."""


class Trial(NamedTuple):
    """What came of decoding a codec."""

    codec: str
    decoder: str
    """In words."""
    problem: str = ""
    """Why it failed; else empty."""


def check() -> Iterator[Finding]:
    """Decode a clip of each codec."""
    gpu = has_gpu()
    yield from judge([try_codec(codec, gpu) for codec in CODECS], gpu)
    yield ok("pyav", f"{av.__version__}, FFmpeg {av.ffmpeg_version_info}")


def try_codec(codec: str, gpu: bool) -> Trial:
    """Make a clip and decode it, by DALI or PyAV, whichever training would take."""
    if not video_by_dali(_clip(codec), gpu):
        decoder, decode = "PyAV on the CPU", _decode_by_pyav
    else:
        decoder = "DALI with NVDEC" if gpu else "DALI on the CPU"

        def decode(file: bytes) -> np.ndarray:
            return dali.decode_video(file, range(FRAMES), gpu)

    if not CODECS[codec].available:
        return Trial(codec, f"{decoder} (untried)", _missing_decoder(codec))
    return Trial(codec, decoder, _problem(decode, encoded(codec)))


def shade(frame: int) -> int:
    """The grey level of a frame, by which it is known."""
    return 30 + 25 * frame


def encoded(codec: str) -> bytes:
    """A clip whose frames are grey, each of its own level."""
    file = io.BytesIO()
    frames = (np.full((HEIGHT, WIDTH, 3), shade(number), np.uint8) for number in range(FRAMES))
    encode_video(file, frames, CODECS[codec], rate=12)
    return file.getvalue()


def _clip(codec: str) -> Clip:
    return Clip(
        row=0,
        path="",
        label=0,
        frames=FRAMES,
        width=WIDTH,
        height=HEIGHT,
        rotation=0,
        codec=codec,
        pixel_format=CODECS[codec].pixel_format,
        size=0,
        plain=True,
    )


def _decode_by_pyav(file: bytes) -> np.ndarray:
    with av.open(io.BytesIO(file), "r") as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def _missing_decoder(codec: str) -> str:
    try:
        av.codec.Codec(codec, "r")
    except av.codec.codec.UnknownCodecError:
        return "this FFmpeg has no decoder for it"
    return ""


def _problem(decode: Callable[[bytes], np.ndarray], file: bytes) -> str:
    """What is wrong with a decoder; else empty."""
    try:
        pictures = decode(file)
    except Exception as error:  # whatever decoders, the driver and the libraries may raise
        return dali.reason(error)
    if pictures.shape != (FRAMES, HEIGHT, WIDTH, 3):
        return f"gives {pictures.shape} instead of {(FRAMES, HEIGHT, WIDTH, 3)}"
    levels = pictures.reshape(FRAMES, -1).mean(axis=1)
    off = np.abs(levels - [shade(number) for number in range(FRAMES)])
    return "" if off.max() < _TOLERANCE else f"frame {off.argmax()} is not what was encoded"


def judge(trials: Sequence[Trial], gpu: bool) -> Iterator[Finding]:
    """What to say of the codecs."""
    alike: dict[tuple[str, str], list[str]] = {}
    for trial in trials:
        alike.setdefault((trial.decoder, trial.problem), []).append(trial.codec)
    fine = []
    for (decoder, problem), codecs in alike.items():
        words = f"{', '.join(codecs)} by {decoder}"
        if problem:
            level = fail if set(codecs) & set(_PUBLISHED) else warn
            yield level("video", f"{words}: {problem}", _remedy(decoder, problem, gpu))
        else:
            fine.append(words)
    if fine:
        yield ok("video", "; ".join(fine))


def _remedy(decoder: str, problem: str, gpu: bool) -> str:
    if not decoder.startswith("DALI"):
        return install("av", again=True)
    if gpu and "cuda is not available" not in problem.lower():
        return (
            "docker run -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video ...; where the GPU "
            "cannot decode it: tdn transcode --help"
        )
    return dali.remedy(problem)
