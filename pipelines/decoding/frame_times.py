"""When each frame of a clip is shown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdn.pipelines.decoding.fetching import opened
from tdn.pipelines.decoding.frame_reading import frame_rate
from tdn.pipelines.files.storage import patiently
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.reading import DecodingError, cause_of, decoded_frames, open_video


def frame_times(clip: Clip) -> npt.NDArray[np.float64]:
    """Seconds from the first frame to each, and, last, to the end of the last one.

    Frame rates may vary, as phones' do. Frames without times, as of a folder of pictures, follow
    each other at ``frame_reading.frame_rate``.

    Args:
        clip: A video, a folder of frames, or part of a shard.

    Returns:
        (frames + 1,) rising numbers; the first is 0.

    Raises:
        DecodingError: The file is gone or damaged.
    """
    shown = None if clip.is_pictures else _times(clip)
    if shown is None or len(shown) != clip.frames or (np.diff(shown) <= 0).any():
        return np.arange(clip.frames + 1) / float(frame_rate(clip))
    last = float(np.median(np.diff(shown))) if len(shown) > 1 else 1 / float(frame_rate(clip))
    return np.append(shown, shown[-1] + last) - shown[0]


def _times(clip: Clip) -> npt.NDArray[np.float64] | None:
    """The times of a video's frames in seconds, in the order in which they are shown."""
    try:
        with open_video(patiently(lambda: opened(clip))) as video:
            if clip.plain:  # packets are frames
                packets = video.container.demux(video.stream)
                found = [packet.pts for packet in packets if packet.size]
            else:
                found = [frame.pts for frame in decoded_frames(video)]
            unit = video.stream.time_base
    except OSError as error:
        raise DecodingError(f"cannot be read: {cause_of(error)}") from None
    ticks = [time for time in found if time is not None]
    if unit is None or len(ticks) != len(found):
        return None
    return np.multiply(np.sort(ticks), float(unit), dtype=np.float64)
