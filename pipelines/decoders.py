"""Which decoder reads a file: DALI (NVDEC on a GPU, or its CPU decoder), or PyAV."""

from __future__ import annotations

from collections import Counter

from tdn.pipelines.manifest import Clip, Manifest

# Without a GPU DALI decodes only these, and reports H.264 as "not supported by the CPU variant".
_CPU_CODECS = frozenset({"vp8", "vp9", "mjpeg"})
# Smallest sides that NVDEC takes, in pixels (NVIDIA's decoder documentation); PyAV reads the rest.
_NVDEC_SMALLEST = {"h264": 48, "vp8": 48, "vp9": 128, "av1": 128, "hevc": 144}
# 8 bits, 4:2:0: what NVDEC takes of every codec.
_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})


def decoded_by_dali(clip: Clip, gpu: bool) -> bool:
    """Whether DALI decodes a file itself; it ignores rotation, so a turned file goes to PyAV."""
    side = min(clip.width, clip.height)
    return _by_dali(clip.codec, clip.pixel_format, clip.rotation, side, gpu)


def _by_dali(codec: str, pixel_format: str, rotation: int, side: int, gpu: bool) -> bool:
    if pixel_format not in _PIXEL_FORMATS or rotation != 0:
        return False
    return side >= _NVDEC_SMALLEST.get(codec, side + 1) if gpu else codec in _CPU_CODECS


def describe_decoders(manifest: Manifest, gpu: bool) -> str:
    """How many usable files each decoder reads, for the log: "300 vp9 by DALI, ..."."""
    counts: Counter[tuple[str, str]] = Counter()
    for codec, pixel_format, rotation, side, count in manifest.kinds():
        dali = "DALI with NVDEC" if gpu else "DALI on the CPU"
        by_dali = _by_dali(codec, pixel_format, rotation, side, gpu)
        counts[codec, dali if by_dali else "PyAV on the CPU"] += count
    return ", ".join(f"{n} {codec} by {decoder}" for (codec, decoder), n in counts.most_common())
