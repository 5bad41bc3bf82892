"""Class names: a label must mean the same in both lists and in a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from tdn.errors import UserError


def check_same_classes(key: str, names: Sequence[str], source: str, others: Sequence[str]) -> None:
    """Refuse a list whose labels mean something else than another source's.

    Where one of the two has no names, there is nothing to compare.

    Args:
        key: The list's key in the configuration.
        names: Its class names by label.
        source: What it is compared with, for the message.
        others: The class names there.

    Raises:
        UserError: Says the first label that differs.
    """
    if not names or not others or list(names) == list(others):
        return
    pairs = list(zip(names, others, strict=False))
    differing = [label for label, (name, other) in enumerate(pairs) if name != other]
    if differing:
        label = differing[0]
        what = f"label {label} is '{names[label]}', but '{others[label]}' in {source}"
    else:
        what = f"has {len(names)} classes, but {source} {len(others)}"
    raise UserError(f"{key}: {what}; name all classes, in the same order for both, in data.classes")
