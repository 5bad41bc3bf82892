"""Real encoded videos of every awkward kind, each of whose frames carries its number.

Two-pass encoding, which alternate reference frames need, is not to be had in PyAV: those two files
lie in ``data/videos``. They are numbered frames on a moving ground, encoded by FFmpeg with
``-b:v 40k -auto-alt-ref 1 -lag-in-frames 25 -g 24 -arnr-maxframes 7``.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition

from tdn.pipelines.videos.encoding import usual_scheduling
from tests.videos import ENCODERS, numbered_frame, rotate_mp4, write_video

os.environ.setdefault("SVT_LOG", "1")  # errors only

FRAMES = 30
SIZE = (144, 192)
"""Height and width: the smallest that every hardware decoder takes, of the tests' crop's shape."""
DATA = Path(__file__).parent / "data" / "videos"

X265 = "log-level=none:frame-threads=1:pools=none:keyint=10:min-keyint=10:scenecut=0:bframes=3"
OPTIONS = {
    "vp8": {"cpu-used": "8", "g": "10"},
    "vp9": {"cpu-used": "8", "g": "10"},
    "h264": {"preset": "veryfast", "g": "10", "bf": "3", "x264-params": "scenecut=0"},
    "hevc": {"preset": "ultrafast", "x265-params": X265},
    "av1": {"preset": "8", "crf": "10", "g": "10", "svtav1-params": "lp=1"},
    "mpeg4": {"g": "10", "bf": "2"},
    "mjpeg": {},
}
_OPEN_GOP = {
    "h264": OPTIONS["h264"] | {"x264-params": "scenecut=0:open-gop=1:b-adapt=0"},
    "hevc": OPTIONS["hevc"] | {"x265-params": X265 + ":open-gop=1"},
}


class Video(NamedTuple):
    """A file, and what its frames show in the order in which they are shown."""

    path: Path
    shows: list[int]


def encode(
    path: Path,
    codec: str,
    pictures: int | Sequence[np.ndarray] = FRAMES,
    *,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = SIZE,
    pixels: str = "",
    times: Sequence[int] = (),
    mux: dict[str, str] | None = None,
    flags: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """Encode numbered frames (or the given ones) at 12 frames per second, or at given times.

    Args:
        path: File to write, in the container of its suffix.
        codec: A key of `OPTIONS`.
        pictures: How many numbered frames, or the pictures.
        options: The encoder's.
        size: Height and width of numbered frames.
        pixels: Pixel format.
        times: When each frame is shown, milliseconds.
        mux: The muxer's options.
        flags: The encoder's flags.
        aspect: Width of a pixel by its height.
    """
    if isinstance(pictures, int):
        pictures = [numbered_frame(number, *size) for number in range(pictures)]
    with usual_scheduling(), av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(
            {"av1": "libsvtav1", **ENCODERS}[codec],
            rate=12,
            options=OPTIONS[codec] if options is None else options,
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.flags |= flags
        if codec != "av1":
            stream.bit_rate = 800_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(
    source: Path,
    path: Path,
    keep: Callable[[int, av.Packet], bool] = lambda _number, _packet: True,
    shift: int = 0,
    mux: dict[str, str] | None = None,
) -> Path:
    """Copy a video's packets, all or some, and later or earlier by a number of ticks."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=mux or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            if keep(number, packet):
                packet.stream = stream
                packet.pts += shift
                if packet.dts is not None:  # Matroska has no decoding times
                    packet.dts += shift
                new.mux(packet)
    return path


def join(path: Path, sources: Sequence[Path]) -> Path:
    """One stream of the packets of several, one after the other."""
    with av.open(str(path), "w") as new:
        stream, start = None, Fraction(0)
        for source in sources:
            with av.open(str(source)) as old:
                stream = stream or new.add_stream_from_template(old.streams.video[0])
                for packet in [packet for packet in old.demux(video=0) if packet.size]:
                    packet.stream = stream
                    ticks = round(start / packet.time_base)
                    packet.pts += ticks
                    packet.dts += ticks
                    new.mux(packet)
            start += Fraction(FRAMES + 2, 12)
    return path


def beside(path: Path, sources: Sequence[Path], dispositions: Sequence[Disposition]) -> Path:
    """Several videos as streams of one file."""
    olds = [av.open(str(source)) for source in sources]
    with av.open(str(path), "w") as new:
        streams = [new.add_stream_from_template(old.streams.video[0]) for old in olds]
        for stream, disposition in zip(streams, dispositions, strict=True):
            stream.disposition = disposition
        for old, stream in zip(olds, streams, strict=True):
            for packet in [packet for packet in old.demux(video=0) if packet.size]:
                packet.stream = stream
                new.mux(packet)
            old.close()
    return path


def begin_later(source: Path, path: Path, frames: int) -> Path:
    """Let an mp4's edit list begin a number of frames later, as a phone's "trim" does."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        tick = round(1 / (12 * container.streams.video[0].time_base))
    at = data.index(b"elst") + 16  # version, flags, number of entries, duration of the first
    (start,) = struct.unpack_from(">i", data, at)
    struct.pack_into(">i", data, at, start + frames * tick)
    path.write_bytes(data)
    return path


def sound_first(path: Path) -> Path:
    """A video whose sound is the first stream and whose packets come first."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        stream = container.add_stream("libx264", rate=12, options=OPTIONS["h264"])
        (stream.height, stream.width), stream.pix_fmt = SIZE, "yuv420p"
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *SIZE), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def uneven_times(start: int = 0) -> list[int]:
    """When each of `FRAMES` frames is shown if the camera stutters, milliseconds."""
    rng = random.Random(1)
    times = [start]
    while len(times) < FRAMES:
        times.append(times[-1] + rng.choice([20, 40, 200, 500]))
    return times


def write_corpus(folder: Path) -> dict[str, Video]:
    """Write all of it; the names say what is awkward."""
    made: dict[str, Video] = {}

    def add(name: str, path: Path, shows: Sequence[int] = range(FRAMES)) -> Path:
        made[name] = Video(path, list(shows))
        return path

    def new(name: str, suffix: str, codec: str, **settings) -> Path:
        return add(name, encode(folder / f"{name}{suffix}", codec, **settings))

    _add_codecs(new, add, folder)
    _add_lengths_and_times(new, add, folder)
    _add_formats(new, add, folder)
    _add_cuts(new, add, folder)
    _add_streams(add, folder)
    return made


def _add_codecs(new, add, folder: Path) -> None:
    for codec, suffixes in {
        "vp8": (".webm", ".mkv", ".avi"),
        "vp9": (".webm", ".mp4", ".mkv"),
        "h264": (".mp4", ".mkv", ".mov", ".ts", ".avi"),
        "hevc": (".mp4", ".mkv", ".ts"),
        "av1": (".mp4", ".webm"),
        "mpeg4": (".mp4", ".avi"),
        "mjpeg": (".avi", ".mov"),
    }.items():
        first = new(f"{codec}-{suffixes[0][1:]}", suffixes[0], codec)
        for suffix in suffixes[1:]:
            again = codec in ("mjpeg", "av1") or suffix == ".avi"  # cannot be copied
            name = f"{codec}-{suffix[1:]}"
            if again:
                new(name, suffix, codec)
            else:
                add(name, remux(first, folder / f"{name}{suffix}"))
    new("h264-b-pyramid", ".mp4", "h264", options=OPTIONS["h264"] | {"b-pyramid": "normal"})
    for codec, options in _OPEN_GOP.items():
        for suffix in (".mp4", ".mkv", ".ts"):
            new(f"{codec}-open-gop-{suffix[1:]}", suffix, codec, options=options)
    for codec in ("vp8", "vp9"):
        path = shutil.copy(DATA / f"{codec}_alt_ref.webm", folder)
        add(f"{codec}-alt-ref", Path(path), range(40))
    add("vp9-alt-ref-mp4", remux(Path(path), folder / "alt-ref.mp4"), range(40))


def _add_lengths_and_times(new, add, folder: Path) -> None:
    for frames in (1, 3):
        for codec, suffix in (("vp9", ".webm"), ("h264", ".mp4"), ("hevc", ".mp4")):
            name = f"{codec}-{frames}-frames"
            add(name, encode(folder / f"{name}{suffix}", codec, frames), range(frames))
    add("h264-255-frames", encode(folder / "255.mp4", "h264", 255), range(255))
    for codec, suffix in (("vp9", ".webm"), ("vp9", ".mp4"), ("h264", ".mp4")):
        new(f"{codec}-uneven{suffix}", suffix, codec, times=uneven_times())
        new(f"{codec}-late{suffix}", suffix, codec, times=uneven_times(5000))
    same = [80 * (number - number % 3 // 2) for number in range(FRAMES)]
    new("vp9-times-twice", ".webm", "vp9", times=same)
    new("vp9-without-cues", ".webm", "vp9", mux={"live": "1"})
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    for codec in ("vp9", "h264"):
        new(f"{codec}-fragments", ".mp4", codec, mux=fragments)
        new(f"{codec}-table-first", ".mp4", codec, mux={"movflags": "faststart"})


def _add_formats(new, add, folder: Path) -> None:
    new("vp9-odd-size", ".webm", "vp9", size=(149, 197))
    new("vp8-odd-size", ".webm", "vp8", size=(149, 197))
    new("vp9-444", ".webm", "vp9", pixels="yuv444p", options=OPTIONS["vp9"] | {"profile": "1"})
    new("h264-444", ".mp4", "h264", pixels="yuv444p", size=(149, 197))
    new("h264-full-range", ".mp4", "h264", pixels="yuvj420p")
    new("hevc-10-bit", ".mp4", "hevc", pixels="yuv420p10le")
    new("h264-anamorphic", ".mp4", "h264", aspect=Fraction(4, 3))
    fields = OPTIONS["h264"] | {"x264-params": "scenecut=0:tff=1"}
    new("h264-interlaced", ".ts", "h264", options=fields, flags=Flags.interlaced_dct)
    for codec in ("h264", "vp9"):
        for degrees in (90, 180, 270):
            # What a phone stores: a picture on its side, and how to turn it.
            lying = [np.rot90(numbered_frame(n, *SIZE), degrees // 90) for n in range(FRAMES)]
            name = f"{codec}-turned-{degrees}"
            path = encode(folder / f"{name}.mp4", codec, [np.ascontiguousarray(p) for p in lying])
            add(name, rotate_mp4(path, degrees))


def _add_cuts(new, add, folder: Path) -> None:
    """Files that begin elsewhere than at a key frame, or show not all that they hold."""
    sources = {
        "h264.mp4": encode(folder / "h264-source.mp4", "h264"),
        "vp9.mp4": encode(folder / "vp9-source.mp4", "vp9"),
        "mpeg4.mp4": encode(folder / "mpeg4-source.mp4", "mpeg4"),
        "mjpeg.mov": encode(folder / "mjpeg-source.mov", "mjpeg"),
    }
    for key, source in sources.items():
        for frames in (3, 10, 13):
            name = f"begins-at-{frames}-{key}"
            add(name, begin_later(source, folder / name, frames), range(frames, FRAMES))
    early = {"avoid_negative_ts": "disabled"}
    for key in ("h264.mp4", "vp9.mp4"):
        name = f"negative-times-{key}"
        with av.open(str(sources[key])) as container:
            tick = round(1 / (12 * container.streams.video[0].time_base))
        path = remux(sources[key], folder / name, shift=-5 * tick, mux=early)
        add(name, path, range(5, FRAMES))
    headless = {"h264.ts": "h264", "hevc.ts": "hevc", "vp9.webm": "vp9", "vp8.webm": "vp8"}
    for key, codec in headless.items():
        source = encode(folder / f"whole-{key}", codec)
        name = f"begins-without-key-{key}"
        add(name, remux(source, folder / name, lambda n, _: n >= 4), range(10, FRAMES))
    source = encode(folder / "open-hevc.ts", "hevc", options=_OPEN_GOP["hevc"])
    for suffix in (".ts", ".mkv"):
        name = f"begins-in-open-gop{suffix}"
        add(name, *_from_third_key(source, folder / name))


def _from_third_key(source: Path, path: Path) -> tuple[Path, list[int]]:
    """A video from a key frame on which frames follow that are shown before it."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert any(packet.pts < packets[keys[2]].pts for packet in packets[keys[2] :])
    first = sorted(packet.pts for packet in packets).index(packets[keys[2]].pts)
    return remux(source, path, lambda number, _: number >= keys[2]), list(range(first, FRAMES))


def _add_streams(add, folder: Path) -> None:
    add("sound-after", write_video(folder / "sound.webm", FRAMES, size=SIZE, audio=True))
    add("sound-first", sound_first(folder / "first.mp4"))
    video = encode(folder / "one.webm", "vp9")
    other = encode(
        folder / "other.webm", "vp9", [numbered_frame(n + 100, *SIZE) for n in range(FRAMES)]
    )
    cover = encode(folder / "cover.mjpg", "mjpeg", [numbered_frame(255, *SIZE)])
    none, default, picture = Disposition(0), Disposition.default, Disposition.attached_pic
    two = beside(folder / "two.webm", (video, other), (default, none))
    add("two-videos", two)
    second = beside(folder / "second.webm", (video, other), (none, default))
    add("second-video-is-the-default", second, range(100, 100 + FRAMES))
    add("cover-after.mp4", beside(folder / "a.mp4", (video, cover), (default, picture)))
    add("cover-before.mkv", beside(folder / "b.mkv", (cover, video), (picture, default)))
