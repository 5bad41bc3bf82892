"""Which decoder reads a clip: DALI (NVDEC, nvJPEG or its CPU decoders), PyAV, or Pillow."""

from __future__ import annotations

from collections import Counter

from tdn.pipelines.manifest import Clip, Kind, Manifest

# Without a GPU DALI decodes only these, and MJPEG, of which it shows damaged frames without a word.
_CPU_CODECS = frozenset({"vp8", "vp9"})
# Smallest sides that NVDEC takes, in pixels (NVIDIA's decoder documentation); PyAV reads the rest.
_NVDEC_SMALLEST = {"h264": 48, "vp8": 48, "vp9": 128, "av1": 128, "hevc": 144}
# 8 bits, 4:2:0: what NVDEC takes of every codec.
_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})
# Pillow's names of what DALI makes RGB of as Pillow does.
_PICTURE_MODES = frozenset({"rgb", "l"})


def all_pictures(manifest: Manifest) -> bool:
    """Whether every usable clip is pictures, so that the graph of pictures reads them."""
    kinds = manifest.kinds()
    return bool(kinds) and all(kind.pictures for kind in kinds)


def video_by_dali(clip: Clip, gpu: bool) -> bool:
    """Whether DALI decodes a clip in the graph of videos.

    It ignores rotation, and takes packets for frames, so that what is turned or is not plain goes
    to PyAV.
    """
    return clip.plain and _fits_dali(
        clip.codec, clip.pixel_format, clip.rotation, min(clip.width, clip.height), gpu
    )


def _fits_dali(codec: str, pixel_format: str, rotation: int, side: int, gpu: bool) -> bool:
    if pixel_format not in _PIXEL_FORMATS or rotation != 0:
        return False
    return side >= _NVDEC_SMALLEST.get(codec, side + 1) if gpu else codec in _CPU_CODECS


def pictures_by_dali(codec: str, mode: str) -> bool:
    """Whether DALI decodes a clip's pictures in the graph of pictures.

    Only JPEG, whose headers are checked before: at others that are damaged it may crash.
    """
    return codec == "jpeg" and mode in _PICTURE_MODES


def describe_decoders(manifest: Manifest, gpu: bool) -> str:
    """How many usable clips each decoder reads, for the log: "300 vp9 by DALI, ..."."""
    counts: Counter[tuple[str, str]] = Counter()
    for kind in manifest.kinds():
        counts[kind.codec, _decoder(kind, all_pictures(manifest), gpu)] += kind.clips
    return ", ".join(f"{n} {codec} by {decoder}" for (codec, decoder), n in counts.most_common())


def kind_by_dali(kind: Kind, alone: bool, gpu: bool) -> bool:
    """Whether DALI decodes a kind of clips; ``alone`` where all clips are pictures."""
    if kind.pictures:
        return alone and pictures_by_dali(kind.codec, kind.pixel_format)
    fits = _fits_dali(kind.codec, kind.pixel_format, kind.rotation, kind.side, gpu)
    return kind.plain and fits


def _decoder(kind: Kind, alone: bool, gpu: bool) -> str:
    """The decoder of a kind of clips, in words."""
    if kind_by_dali(kind, alone, gpu):
        hardware = "nvJPEG" if kind.pictures else "NVDEC"
        return f"DALI with {hardware}" if gpu else "DALI on the CPU"
    return "Pillow on the CPU" if kind.pictures else "PyAV on the CPU"
