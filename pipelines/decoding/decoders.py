"""Which decoder reads a clip: DALI (NVDEC, nvJPEG or its CPU decoder of JPEG), PyAV, or Pillow."""

from __future__ import annotations

from collections import Counter

from tdn.pipelines.manifests.manifest import Clip, Kind, Manifest

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
    to PyAV. So does everything on the CPU: of the codecs that DALI knows there, VP8, VP9 and MJPEG,
    PyAV takes less CPU time (VP9, 8 segments: 28 instead of 37 ms a clip for the whole pipeline).
    """
    side = min(clip.width, clip.height)
    return gpu and clip.plain and _fits_nvdec(clip.codec, clip.pixel_format, clip.rotation, side)


def _fits_nvdec(codec: str, pixel_format: str, rotation: int, side: int) -> bool:
    upright = pixel_format in _PIXEL_FORMATS and rotation == 0
    return upright and side >= _NVDEC_SMALLEST.get(codec, side + 1)


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
    fits = _fits_nvdec(kind.codec, kind.pixel_format, kind.rotation, kind.side)
    return gpu and kind.plain and fits


def _decoder(kind: Kind, alone: bool, gpu: bool) -> str:
    """The decoder of a kind of clips, in words."""
    if kind_by_dali(kind, alone, gpu):
        hardware = "nvJPEG" if kind.pictures else "NVDEC"
        return f"DALI with {hardware}" if gpu else "DALI on the CPU"
    return "Pillow on the CPU" if kind.pictures else "PyAV on the CPU"
