"""What a training copy is to be like."""

from __future__ import annotations

from dataclasses import dataclass

from tdn.errors import UserError
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.plans import upright_size
from tdn.pipelines.transcoding.encoding import ALL_INTRA, FORMATS, missing_encoder

_SMALLEST = 16
"""Pixels; below it there is nothing to recognise, and encoders refuse."""

GOP = 8
"""Frames from one key frame to the next, unless something else is asked for."""


@dataclass(frozen=True)
class CopySettings:
    """What a training copy is to be like; see ``tdn transcode --help`` for what to choose.

    Attributes:
        format: "vp9", "h264", "mjpeg" (video files) or "jpeg" (a folder of frames per clip).
        short_side: Largest shorter side, pixels; smaller videos keep their size.
        gop: Frames from one key frame to the next; always 1 for mjpeg and jpeg.
        shard_clips: Clips per tar shard; 0 makes files instead.
    """

    format: str = "h264"
    short_side: int = 256
    gop: int = GOP
    shard_clips: int = 0

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises:
            UserError: A value is out of range, or PyAV lacks the encoder.
        """
        if self.format not in FORMATS:
            raise UserError(f"--format {self.format}: unknown; choose {', '.join(FORMATS)}")
        if self.short_side < _SMALLEST or self.short_side % 2:
            raise UserError(
                f"--short-side {self.short_side}: give an even number of pixels from {_SMALLEST}"
            )
        if self.gop < 1:
            raise UserError(f"--gop {self.gop}: give a number of frames from 1")
        if self.gop > 1 and self.format in ALL_INTRA:
            raise UserError(f"--gop {self.gop}: {self.format} has key frames only; leave it out")
        encoder = missing_encoder(self.format)
        if encoder:
            raise UserError(
                f"--format {self.format}: this PyAV has no encoder {encoder}; choose another "
                "format or install PyAV from PyPI"
            )


def copy_size(clip: Clip, short_side: int) -> Size:
    """Height and width of a clip's copy: upright, never enlarged, both even.

    Args:
        clip: The original.
        short_side: Largest shorter side, pixels; even.
    """
    height, width = upright_size(clip)
    shorter = min(height, width)
    scale = min(1.0, short_side / shorter)
    return _even(height * scale, height), _even(width * scale, width)


def _even(length: float, limit: int) -> int:
    """The nearest even length that is not above the limit; at least 2."""
    return max(2, min(2 * round(length / 2), limit - limit % 2))
