"""Mistakes in a data set that show before a video is opened: to index one may take an hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tdn.config import Config
from tdn.errors import UserError
from tdn.pipelines.indexing.manifest_cache import cache_path
from tdn.pipelines.manifests.manifest import is_manifest
from tdn.pipelines.sources.listing import read_class_names
from tdn.pipelines.sources.reading import read_listing
from tdn.pipelines.sources.shards import are_shards


def check_lists(config: Config) -> None:
    """Refuse lists of a training that cannot be read or have labels that do not fit.

    Of what was indexed before, and of shards, that is found out when they are opened.

    Raises:
        UserError: Names the list and the line.
    """
    data = config.data
    classes = read_class_names(data.classes) if data.classes else ()
    for source in filter(None, (data.train_list, data.validation_list)):
        cache = cache_path(source, data.root, classes, data.frame_template)
        if is_manifest(source) or are_shards(source) or cache.exists():
            continue
        listing = read_listing(source, classes, data.frame_template)
        check_labels(
            source,
            np.asarray(listing.labels),
            listing.lines.__getitem__,
            listing.classes,
            config.model.num_classes,
        )


def check_labels(
    source: object,
    labels: npt.NDArray[np.integer],
    line_of: Callable[[int], object],
    classes: Sequence[str],
    num_classes: int,
) -> None:
    """Refuse labels that the network has no class for.

    Args:
        source: The list's name.
        labels: Of all rows.
        line_of: The line of a row.
        classes: Names of the labels, if the list has them.
        num_classes: ``model.num_classes``.

    Raises:
        UserError: Names the list and the line.
    """
    if classes and len(classes) != num_classes:
        raise UserError(
            f"{source}: names {len(classes)} classes, but model.num_classes is {num_classes}; "
            "correct it, or give the names of all classes with data.classes"
        )
    wrong = np.flatnonzero(labels >= num_classes)
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{source}:{line_of(row)}: label {labels[row]} is not among the {num_classes} classes "
            f"(0 to {num_classes - 1}); correct the line or model.num_classes"
        )
