"""Several networks as one, such as the published "8+16 frames": their scores are added up.

The published numbers of two networks come from the released code, which adds up the positive parts
of the logits of all views of both, without a softmax. The mean of the networks' probabilities is
there beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tdn.errors import UserError
from tdn.evaluation.scores import Scores, accuracy, save_metrics
from tdn.training.saving.run_folder import make_folder
from tdn.training.state import versions

Values = npt.NDArray[np.float64]


def positive_sum(members: Sequence[Scores]) -> Values:
    """The published rule: the sum over networks of the mean over views of max(logit, 0).

    The released code sums over views, which is the same where all networks have as many.

    Returns:
        (N, classes).
    """
    parts = [np.maximum(member.logits, 0).mean(1, dtype=np.float64) for member in members]
    return np.sum(parts, axis=0)


def mean_softmax(members: Sequence[Scores]) -> Values:
    """The mean over networks of the mean over views of softmax: (N, classes)."""
    return np.mean([member.probabilities() for member in members], axis=0)


RULES: dict[str, Callable[[Sequence[Scores]], Values]] = {
    "published": positive_sum,
    "softmax": mean_softmax,
}


def write_ensemble(
    sources: Sequence[str | Path], output: Path, rule: str = "published"
) -> dict[str, Any]:
    """Put scores of several networks together and write ``scores.npz`` and ``metrics.json``.

    Args:
        sources: Files that ``tdn evaluate`` wrote, or their folders.
        output: Folder to write to.
        rule: Name of the rule for the scores that are written, and for top1 and top5.

    Returns:
        The metrics as in the file: top1 and top5 in percent, and under "rules" those by each rule.

    Raises:
        UserError: There are fewer than two, one holds no scores, or they are of other videos.
    """
    paths = [path / "scores.npz" if path.is_dir() else path for path in map(Path, sources)]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise UserError(f"{paths[-1]}: is alone or given twice; give the scores of two evaluations")
    members = [Scores.load(path) for path in paths]
    check_same_videos(paths, members)
    first = members[0]
    values = {name: combine(members) for name, combine in RULES.items()}
    found = {name: accuracy(combined, first.labels) for name, combined in values.items()}
    metrics = {
        **found[rule],
        "rule": rule,
        "rules": found,
        "members": [
            {"scores": str(path), "views": member.logits.shape[1], **member.accuracy()}
            for path, member in zip(paths, members, strict=True)
        ],
        "videos": first.logits.shape[0],
        "classes": first.logits.shape[2],
        "versions": versions(),
    }
    logits = _as_logits(values[rule], rule)[:, None]
    together = Scores(first.indices, first.labels, logits, first.videos)
    together.save(make_folder(output) / "scores.npz")
    save_metrics(output / "metrics.json", metrics)
    return metrics


def check_same_videos(paths: Sequence[Path], members: Sequence[Scores]) -> None:
    """Refuse scores that are not of the same videos with the same labels.

    Args:
        paths: Where the scores come from, for the message.
        members: The scores.

    Raises:
        UserError: Names the first difference.
    """
    first, where = members[0], paths[0]
    for path, member in zip(paths[1:], members[1:], strict=True):
        difference = _difference(first, member, str(where))
        if difference:
            raise UserError(
                f"{path}: {difference}; evaluate both on the same list, with all its videos"
            )


def _as_logits(values: Values, rule: str) -> npt.NDArray[np.float32]:
    """What has the same order of classes, and of probabilities the same softmax."""
    if rule == "softmax":
        values = np.log(values.clip(np.finfo(np.float64).tiny))
    return values.astype(np.float32)


def _difference(first: Scores, other: Scores, where: str) -> str | None:
    """How other scores differ from the first ones, in words."""
    classes, known = other.logits.shape[2], first.logits.shape[2]
    if classes != known:
        return f"has {classes} classes, but {where} {known}"
    for verb, opposite, excess, base in (
        ("lacks", "has", first, other),
        ("has", "lacks", other, first),
    ):
        rows = np.setdiff1d(excess.indices, base.indices)
        if len(rows):
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            return f"{verb} row {rows[0]} of the list{more}, which {where} {opposite}"
    if first.videos and other.videos and first.videos != other.videos:
        return f"is of another list, or of other files, than {where}"
    odd = np.flatnonzero(first.labels != other.labels)
    if len(odd):
        row = odd[0]
        return (
            f"row {first.indices[row]} of the list has label {other.labels[row]}, but "
            f"{first.labels[row]} in {where}"
        )
    return None
