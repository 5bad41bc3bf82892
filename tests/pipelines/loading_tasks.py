"""Loading foreign files, for subprocesses: a decoder that crashes must not take the tests along."""

from __future__ import annotations

import logging
from typing import NamedTuple

import av
import numpy as np

from tdn.config import Config
from tdn.errors import UserError
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
            if number >= len(truth):
                off = 255.0  # FFmpeg has no such frame
            elif truth[number].shape == frame.shape:
                off = float(np.abs(truth[number].astype(int) - frame).mean())
            else:
                off = 0.0 if read_number(truth[number]) == read_number(frame) else 255.0
            loaded.off[row] = max(off, loaded.off.get(row, 0.0))


def decoded(path: str) -> list[np.ndarray]:
    """The pictures that FFmpeg decodes from the first key frame to the first error it reports."""
    pictures: list[np.ndarray] = []
    try:
        with av.open(path, metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"err_detect": "explode"}
            begun = False
            for packet in container.demux(stream):
                begun = begun or packet.is_keyframe
                if begun and not packet.is_corrupt:
                    pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    except (av.error.FFmpegError, ValueError):
        pass
    return pictures
