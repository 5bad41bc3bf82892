"""Where results come from: the commit of the code, and the SHA-256 of files."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tdn.errors import UserError

_FOLDER = Path(__file__).parent


def commit() -> str:
    """The commit that is checked out, with "-dirty" behind if files differ; "unknown" without git.

    Only what belongs to it counts: data, runs and logs that somebody keeps there do not make it
    dirty, nor do results that are being written.
    """
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return "unknown"  # installed into a folder that happens to lie in a repository
    known = ("--porcelain", "--untracked-files=no")
    changed = _git("status", *known, "--", ":/", ":(top,exclude)benchmarks/results")
    return _git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        UserError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    return digest.hexdigest()


def _git(*words: str) -> str:
    """What git prints; nothing if it fails or is not there."""
    command = ["git", "-C", str(_FOLDER), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
