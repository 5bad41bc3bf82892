"""Which decoder reads a file: DALI (NVDEC on a GPU, or its CPU decoder), or PyAV."""

from __future__ import annotations

from collections import Counter

from tdn.pipelines.manifest import Clip, Manifest

# Without a GPU DALI decodes only these, and reports H.264 as "not supported by the CPU variant".
_CPU_CODECS = frozenset({"vp8", "vp9", "mjpeg"})
_NVDEC_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1"})
# 8 bits, 4:2:0: what NVDEC takes of every codec.
_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})


def decoded_by_dali(clip: Clip, gpu: bool) -> bool:
    """Whether DALI decodes a file itself; it ignores rotation, so a turned file goes to PyAV."""
    return _by_dali(clip.codec, clip.pixel_format, clip.rotation, gpu)


def _by_dali(codec: str, pixel_format: str, rotation: int, gpu: bool) -> bool:
    codecs = _NVDEC_CODECS if gpu else _CPU_CODECS
    return codec in codecs and pixel_format in _PIXEL_FORMATS and rotation == 0


def describe_decoders(manifest: Manifest, gpu: bool) -> str:
    """How many usable files each decoder reads, for the log: "300 vp9 by DALI, ..."."""
    counts: Counter[tuple[str, str]] = Counter()
    for codec, pixel_format, rotation, count in manifest.kinds():
        dali = "DALI with NVDEC" if gpu else "DALI on the CPU"
        by_dali = _by_dali(codec, pixel_format, rotation, gpu)
        counts[codec, dali if by_dali else "PyAV on the CPU"] += count
    return ", ".join(f"{n} {codec} by {decoder}" for (codec, decoder), n in counts.most_common())
