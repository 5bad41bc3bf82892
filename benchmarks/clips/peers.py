"""How others read the same clips: decode with a library, cut, resize and flip with PIL, stack.

Upstream's way, written as a competent user would: one thread a worker process, every distinct frame
decoded and resized once, packets that nobody needs left out where every frame is a key frame, the
batch put together in the worker, in the memory that it shares with the trainer.

Decoding libraries are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.harness.common import described
from tdn.config import Config
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.pipelines.files.frame_folders import frame_path
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.plans import Planner, View

# Pillow's pictures cannot be written to, and torch is only to read them.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[str, list[int]], list[Image.Image]]
"""A file's frames of these rising numbers."""


def decode_with_pyav(path: str, numbers: list[int]) -> list[Image.Image]:
    """PyAV: FFmpeg's decoders and colours.

    With one converter of colours for all frames: ``frame.to_image()`` makes one for each, which
    takes another 10 ms of CPU time a clip.
    """
    import av
    from av.video.reformatter import VideoReformatter

    colours = VideoReformatter()

    def picture(frame: av.VideoFrame) -> Image.Image:
        return colours.reformat(frame, format="rgb24", threads=1).to_image()

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "mjpeg":  # no frame needs another
            packets = [packet for packet in container.demux(stream) if packet.size]
            return [picture(packets[number].decode()[0]) for number in numbers]
        wanted, pictures = set(numbers), []
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                pictures.append(picture(frame))
                if len(pictures) == len(numbers):
                    break
        return pictures


def decode_with_decord(path: str, numbers: list[int]) -> list[Image.Image]:
    """Decord, which finds its way to the frames by itself."""
    import decord

    frames = decord.VideoReader(path, num_threads=1).get_batch(numbers).asnumpy()
    return [Image.fromarray(frame) for frame in frames]


def decode_with_torchcodec(path: str, numbers: list[int]) -> list[Image.Image]:
    """TorchCodec; its approximate way of seeking spares a scan of the file, and is exact here."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(
        path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate"
    )
    return [Image.fromarray(frame.numpy()) for frame in decoder.get_frames_at(numbers).data]


DECODERS: dict[str, Decode] = {
    "pyav": decode_with_pyav,
    "decord": decode_with_decord,
    "torchcodec": decode_with_torchcodec,
}


LIBRARIES = (*DECODERS, "PIL")


def absence(library: str) -> str:
    """Why a library cannot be used, and the remedy; "" if it can."""
    name = {"pyav": "av"}.get(library, library)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return f"no {error.name} here; pip install {error.name}"
    except (ImportError, OSError, RuntimeError) as error:
        return described(_root(error))
    return ""


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class PeerBatch(NamedTuple):
    """What a worker sends."""

    clips: Tensor
    """(N, T*15, H, W) float32, normalised, as upstream's networks take them; or uint8 frames,
    (N, T, 5, H, W, 3)."""
    frame_numbers: Tensor
    """(N, T, 5) int64."""


class PeerDataset(Dataset[PeerBatch]):
    """Whole batches by step, counted over all epochs; what is in them is planned as ours is.

    Args:
        config: of the training that reads them.
        library: of ``LIBRARIES``.
        as_float: whether frames are normalised here, as upstream does, or stay uint8.
    """

    def __init__(self, config: Config, library: str, as_float: bool) -> None:
        self._config = config
        self._library = library
        self._as_float = as_float
        self._planner: Planner | None = None

    def __getitem__(self, step: int) -> PeerBatch:
        planner = self._planner = self._planner or training_planner(self._config)
        views = planner.batch(*divmod(step, planner.steps))
        (height, width), places = planner.target, planner.segments * 5
        shape = (places * 3, height, width) if self._as_float else (places, height, width, 3)
        dtype = torch.float32 if self._as_float else torch.uint8
        clips = _shared((len(views), *shape), dtype)
        for view, clip in zip(views, clips, strict=True):
            frames = self._frames(view, (width, height))
            if self._as_float:
                _normalise(frames, clip.view(places, 3, height, width))
            else:
                np.stack(frames, out=clip.numpy())
        if not self._as_float:
            clips = clips.unflatten(1, (planner.segments, 5))
        return PeerBatch(clips, torch.from_numpy(np.stack([view.frames for view in views])))

    def _frames(self, view: View, size: tuple[int, int]) -> list[Pixels]:
        """The frames of a view in all its places."""
        y, x, height, width = view.crop.window
        mirrored = view.crop.region[3] < view.crop.region[1]
        numbers = np.unique(view.frames).tolist()
        found = {}
        for number, picture in zip(numbers, self._pictures(view.clip, numbers), strict=True):
            cut = picture.crop((x, y, x + width, y + height))
            resized = cut.resize(size, Image.Resampling.BILINEAR)
            if mirrored:
                resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            found[number] = np.asarray(resized)
        return [found[number] for number in view.frames.reshape(-1).tolist()]

    def _pictures(self, clip: Clip, numbers: list[int]) -> Iterable[Image.Image]:
        if self._library in DECODERS:
            return DECODERS[self._library](clip.path, numbers)
        paths = (frame_path(clip.path, clip.template, clip.first, number) for number in numbers)
        return (Image.open(path).convert("RGB") for path in paths)


def training_planner(config: Config) -> Planner:
    """The planner that the loader of this configuration has."""
    data = config.data
    manifest = manifest_of(data.train_list, data.root, progress=False)
    return Planner(manifest, data, config.model.num_segments, train=True, seed=config.seed)


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory that the process which trains will have too, so that nothing is copied on the way."""
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)


_SCALE = 1 / (255 * torch.tensor(STD))[:, None, None]
_SHIFT = -(torch.tensor(MEAN) / torch.tensor(STD))[:, None, None]


def _normalise(frames: list[Pixels], out: Tensor) -> None:
    """(x/255 - mean) / std, channels first; one by one, because a frame fits into the cache."""
    for frame, normalised in zip(frames, out, strict=True):
        normalised.copy_(torch.from_numpy(frame).permute(2, 0, 1))
        normalised.mul_(_SCALE).add_(_SHIFT)
