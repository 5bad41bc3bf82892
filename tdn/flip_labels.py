"""Which class a clip becomes when it is mirrored left to right: the maps that go by a name."""

from __future__ import annotations

from collections.abc import Mapping

FLIP_MAPS: dict[str, dict[int, int]] = {
    # Pulling, pushing, and turning the camera, to the left or to the right: versions 1 and 2, their
    # classes numbered in alphabetical order, as in the released code.
    "something-something": {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166},
}


def flip_map(setting: str | Mapping[int, int]) -> Mapping[int, int]:
    """The map that ``data.flip_labels`` names or is; other labels stay what they are."""
    return FLIP_MAPS[setting] if isinstance(setting, str) else setting
