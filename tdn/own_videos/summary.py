"""What a run came to, and how to go on, in a few lines."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from tdn.evaluation.certainty import accuracy_in_words
from tdn.evaluation.scores import Scores

_LONGER = 3
"""Times the minutes, for a longer training."""


def summary(
    root: Path, files: Sequence[tuple[Path, str]], again: Sequence[str], minutes: float
) -> str:
    """The last lines that a user sees.

    Args:
        root: The run folder, after its evaluation.
        files: What there is to look at, and what it is.
        again: The command that made the run.
        minutes: That the training was given.
    """
    metrics = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    labels = Scores.load(root / "scores.npz").labels
    width = max(len(str(path)) for path, _ in files)
    longer = math.ceil(_LONGER * minutes)
    lines = [
        "",
        accuracy_in_words(metrics, labels),
        *(f"  {path!s:{width}}  {what}" for path, what in files),
        "Go on with",
        f"  tdn predict NEW_VIDEO --checkpoint {quoted(root / 'checkpoints' / 'last.pt')}",
        f"  python -m webbrowser {quoted((root / 'report.html').absolute())}",
        f"  {shlex.join([*again, '--minutes', str(longer)])}",
    ]
    return "\n".join(lines)


def quoted(path: Path) -> str:
    """A path as a shell reads it."""
    return shlex.quote(str(path))
