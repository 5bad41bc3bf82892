"""Loading foreign files, for subprocesses: a decoder that crashes must not take the tests along."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cache
from typing import Any, NamedTuple

import av
import numpy as np
from nvidia.dali import fn, pipeline_def

from tdn.config import Config
from tdn.errors import UserError
from tdn.pipelines.files.subprocess_workers import Lost, Worker
from tdn.pipelines.loader import create_loader
from tests.videos import read_number


class Loaded(NamedTuple):
    """What a loader gave."""

    shown: dict[int, dict[int, set[int]]]
    """By row and frame number: the numbers that the pictures show."""
    off: dict[int, float]
    """By row: the largest mean difference of a picture from what FFmpeg decodes."""
    lost: set[int]
    warnings: list[str]
    error: str
    """Of the user, if there was one."""


def answered(task: str, request: Any, seconds: float) -> Any:
    """What a task of this module answers, in a process of its own, which must live that long."""
    with closing(Worker(f"{__name__}:{task}", seconds)) as worker:
        answer = worker.ask(request)
    assert not isinstance(answer, Lost), answer
    return answer


def load(config: Config) -> Loaded:
    """Everything that training (two epochs) and validation give of a list."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logging.getLogger("tdn").addHandler(handler)
    loaded = Loaded({}, {}, set(), [], "")
    error = ""
    try:
        for split in ("validation", "train"):
            loader = create_loader(config, split)
            for epoch in range(2 if split == "train" else 1):
                loader.set_epoch(epoch)
                for batch in loader:
                    _take(loader, batch, loaded)
            loaded.lost.update(loader.lost)
    except UserError as mistake:
        error = str(mistake)
    finally:
        logging.getLogger("tdn").removeHandler(handler)
    return loaded._replace(warnings=[record.getMessage() for record in records], error=error)


def _take(loader, batch, loaded: Loaded) -> None:
    clips = batch.clips.flatten(1, 2).numpy()
    for row, clip, numbers in zip(
        batch.indices.tolist(), clips, batch.frame_numbers.flatten(1).tolist(), strict=True
    ):
        shown = loaded.shown.setdefault(row, {})
        truth = decoded(loader.planner.manifest.clip(row).path)
        for frame, number in zip(clip, numbers, strict=True):
            shown.setdefault(number, set()).add(read_number(frame))
            if number not in truth:
                off = 255.0  # FFmpeg has no such frame
            elif truth[number].shape == frame.shape:
                off = float(np.abs(truth[number].astype(int) - frame).mean())
            else:
                off = 0.0 if read_number(truth[number]) == read_number(frame) else 255.0
            loaded.off[row] = max(off, loaded.off.get(row, 0.0))


@cache
def decoded(path: str) -> dict[int, np.ndarray]:
    """The frames that FFmpeg decodes without reporting an error.

    In order from the first key frame; and where that fails before the end, each alone from the key
    frame before it, told by its time. Pictures are copied at once, as the loader does: where damage
    leaves parts of one undecoded and FFmpeg does not notice (VP8), these show what its memory held.
    """
    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.best("video")
        codec = stream.codec_context
        codec.thread_count = 1
        codec.options = {"err_detect": "explode"}
        packets = _whole_packets(container, stream)
        frames = dict(enumerate(picture for _, picture in _decode(codec, packets)))
        times = sorted({packet.pts for packet in packets if packet.pts is not None})
        if len(frames) < len(packets) == len(times):
            for place, packet in enumerate(packets):
                keys = [
                    number
                    for number, other in enumerate(packets)
                    if other.is_keyframe and other.pts <= packet.pts
                ]
                alone = dict(_decode(codec, packets[max(keys, default=0) : place + 1]))
                if packet.pts in alone:
                    frames.setdefault(bisect_left(times, packet.pts), alone[packet.pts])
    return frames


def _whole_packets(container, stream) -> list[av.Packet]:
    packets: list[av.Packet] = []
    with suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if packet.size and (packets or packet.is_keyframe):
                if packet.is_corrupt:
                    break
                packets.append(packet)
    return packets


def _decode(codec, packets: list[av.Packet]) -> Iterator[tuple[int, np.ndarray]]:
    """Time and picture of each frame up to the first error."""
    codec.flush_buffers()
    with suppress(av.error.FFmpegError):
        for packet in (*packets, None):
            for frame in codec.decode(packet):
                yield frame.pts, frame.to_ndarray(format="rgb24")


def decode_pictures(files: list[bytes]) -> list[str]:
    """For each JPEG, how DALI's decoder fails in a large batch of it, "" if it does not."""
    return [_decode_picture(np.frombuffer(file, np.uint8)) for file in files]


def _decode_picture(file: np.ndarray) -> str:
    pipeline = _picture_pipeline(lambda: [file] * 40)
    try:
        pipeline.run()
    except RuntimeError as error:
        return str(error)
    return ""


@pipeline_def(batch_size=40, num_threads=2, device_id=None, exec_dynamic=True)
def _picture_pipeline(source):
    encoded = fn.external_source(source=source, batch=True)
    start, shape = np.array([0, 0], np.int32), np.array([64, 64], np.int32)
    return fn.decoders.image_slice(encoded, start, shape, axes=[0, 1], device="cpu")
