"""What a node is made of, as far as nodes that train together must be alike."""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import tdn
from tdn import provenance
from tdn.doctor import driver
from tdn.doctor.findings import Finding, fail, warn
from tdn.errors import UserError
from tdn.preflight.request import Request

Facts = dict[str, str]
"""A value by what it is of."""
_LARGEST_LIST = 256 << 20
"""Bytes of a list that is still read to compare it."""
_CLOCKS = 5.0
"""Seconds between clocks that nothing minds."""
_OWN_BY_NATURE = ("NCCL_SOCKET_IFNAME", "NCCL_IB_HCA", "NCCL_TOPO_FILE", "NCCL_DEBUG_FILE")
"""Settings of NCCL that hosts of another make may need."""


class _Rule(NamedTuple):
    """What it means that a fact differs."""

    stops: bool
    why: str
    remedy: str


_INSTALL = "install the same on all nodes: pip install --constraint constraints.txt"
_RULES = {
    "code": _Rule(
        True,
        "nodes would compute different things",
        "give all nodes the same checkout: git status, git pull, or one on a shared file system",
    ),
    "configuration": _Rule(
        True,
        "nodes would compute different things",
        "start all nodes with the same options, and the same file",
    ),
    "device": _Rule(
        True,
        "the processes of both cannot exchange gradients",
        "nvidia-smi and tdn doctor there say what is missing; or --training.device cpu for all",
    ),
    "torch": _Rule(True, "versions of torch and NCCL may wait for each other for ever", _INSTALL),
    "CUDA of torch": _Rule(True, "NCCL may wait for ever", _INSTALL),
    "DALI": _Rule(True, "nodes would decode and resize differently", _INSTALL),
    "settings of NCCL": _Rule(
        True,
        "nodes that choose links by other rules may wait for each other for ever",
        "export the same NCCL_ variables on all nodes",
    ),
    "driver": _Rule(False, "GPUs may differ in speed and faults", "install the same driver"),
    "gpus": _Rule(False, "all wait for the slowest", "choose nodes of one kind"),
    "python": _Rule(False, "an untested mixture", "use one container or environment for all"),
}
_SHOWN = ("commit",)
"""Facts that may differ: they explain others."""
_LIST = _Rule(
    True,
    "nodes would train on different clips",
    "put lists and videos on storage that all nodes share, or copy the same to each",
)


def look(request: Request, gpus: int) -> Facts:
    """The facts of this node, whose processes have so many GPUs."""
    seen = driver.look()
    facts = {
        "code": _digest_of_code(),
        "commit": provenance.commit(),
        "configuration": request.configuration,
        "device": "cuda" if gpus else "cpu",
        "torch": _version("torch"),
        "CUDA of torch": _cuda_of_torch(),
        "DALI": _version("nvidia-dali-cuda130"),
        "driver": seen.version,
        "gpus": _counted([gpu.name for gpu in seen.gpus]),
        "python": platform.python_version(),
        "settings of NCCL": _nccl_settings(os.environ),
    }
    return facts | {_of_list(path): _digest_of_list(Path(path)) for path in request.lists}


def judge(names: Sequence[str], facts: Sequence[Facts]) -> Iterator[tuple[str, Finding]]:
    """What differs between nodes.

    Args:
        names: The nodes.
        facts: Of each.

    Yields:
        A finding for each node that is not like most, and its name.
    """
    for key in facts[0] if facts else ():
        if key in _SHOWN:
            continue
        values = [fact.get(key, "") for fact in facts]
        usual = Counter(values).most_common(1)[0][0]
        like = values.index(usual)
        rule = _RULES.get(key, _LIST)
        for node, value in enumerate(values):
            if value != usual:
                level = fail if rule.stops else warn
                told, other = (_told(key, facts[which]) for which in (node, like))
                found = f"{told}, but {names[like]} has {other}: {rule.why}"
                yield names[node], level(key, found, rule.remedy)


def _told(key: str, facts: Facts) -> str:
    value = facts.get(key) or "none"
    return f"{value} (commit {facts['commit']})" if key == "code" and "commit" in facts else value


def judge_clock(ahead: float) -> Iterator[Finding]:
    """What to say of a clock, by how many seconds it is ahead of the first node's."""
    if abs(ahead) > _CLOCKS:
        yield warn(
            "clock",
            f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the first node's: logs do "
            "not fit together, and changed files may be taken for unchanged",
            "sudo timedatectl set-ntp true",
        )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cuda_of_torch() -> str:
    from torch.version import cuda

    return cuda or ""


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in Counter(names).items())


def _nccl_settings(variables: Mapping[str, str]) -> str:
    names = sorted(name for name in variables if name.startswith("NCCL_"))
    return " ".join(f"{name}={variables[name]}" for name in names if name not in _OWN_BY_NATURE)


def _digest_of_code() -> str:
    """Of all that this package runs, whatever git says of it."""
    root, digest = Path(tdn.__file__).parent, hashlib.sha256()
    folders = (root, root / "kernels", root / "pipelines")  # the latter may be links
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _of_list(path: str) -> str:
    return f"list {path}"


def _digest_of_list(path: Path) -> str:
    """Of its contents; of what is no file, whether it is there."""
    if path.is_dir():
        return "a folder"
    try:
        if path.stat().st_size > _LARGEST_LIST:
            return f"{path.stat().st_size} bytes"
        return f"SHA-256 {provenance.sha256(path)[:12]}"
    except (OSError, UserError):
        return "not there"  # or the pattern of tar shards, on all nodes alike
