"""Small copies of large training videos: without a GPU, decoding would take most of the time.

Only what is trained on is copied, so that tests and predictions are of the videos as they are.
"""

from __future__ import annotations

import math
from pathlib import Path

from tdn.config import Config
from tdn.files import write_text_atomically
from tdn.own_videos.choices import Videos
from tdn.own_videos.lists import as_csv
from tdn.own_videos.machine import Machine
from tdn.pipelines.sampling.augmentation import as_size
from tdn.pipelines.sources.listing import read_class_names
from tdn.pipelines.sources.reading import read_listing
from tdn.pipelines.transcoding.run import transcode
from tdn.pipelines.transcoding.settings import CopySettings

_WORTH = 2.0
"""Times the sides from which on a copy is worth it. Measured on two CPU cores, with H.264 of 1920 x
1080 pixels: decoding and training take 0.16 s of CPU time a clip instead of 0.59; to copy a video
of 230 frames takes 1 s, as much as two clips of it."""


def side_of_copies(config: Config) -> int:
    """The shorter side, pixels, at which no training crop is blown up."""
    least = max(as_size(config.data.crop_size)) / min(config.data.scales)
    return 16 * math.ceil(max(config.data.short_side, least) / 16)


def are_worth_it(config: Config, machine: Machine, videos: Videos) -> bool:
    """Whether to train on copies."""
    return not machine.gpus and videos.side >= _WORTH * side_of_copies(config)


def copy_training_videos(config: Config, folder: Path) -> Path:
    """Copy the videos of the training list, or go on copying them.

    Args:
        config: With the list.
        folder: For the copies, in a folder of their size.

    Returns:
        A list of the copies, beside their folder.

    Raises:
        UserError: None of the videos can be decoded, or the folder cannot be written.
    """
    data = config.data
    classes = read_class_names(data.classes)
    settings = CopySettings(short_side=side_of_copies(config))
    # A start that was interrupted may have begun copies of another size.
    folder = folder / str(settings.short_side)
    report = transcode(
        data.train_list,
        folder,
        settings,
        root=data.root,
        classes=classes,
        template=data.frame_template,
        progress=config.logging.progress,
    )
    print(report)
    listing = read_listing(report.source, classes)
    # Paths are whole, as data.root is where the others are.
    paths = ((Path(listing.root) / path).absolute() for path in listing.paths)
    names = (classes[label] for label in listing.labels)
    made = folder.with_suffix(".csv")
    write_text_atomically(made, as_csv(zip(map(str, paths), names, strict=True)))
    return made
