"""NVIDIA's decoder libraries: NVDEC's is part of the driver, nvJPEG's comes with DALI."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, ok
from tdn.doctor.gpus import has_gpu
from tdn.doctor.remedies import install


class Library(NamedTuple):
    """A shared library."""

    name: str
    """What to call it."""
    file: str
    problem: str = ""
    """Why it cannot be loaded; else empty."""


def check() -> Iterator[Finding]:
    """Load the libraries."""
    gpu = has_gpu()
    for name, file in (("nvdec", "libnvcuvid.so.1"), ("nvjpeg", _nvjpeg())):
        yield judge(load(name, file), gpu)


def load(name: str, file: str) -> Library:
    """Try to load a library."""
    try:
        ctypes.CDLL(file)
    except OSError as error:
        return Library(name, file, str(error))
    return Library(name, file)


def _nvjpeg() -> str:
    """The file that DALI's package brings along, or else the system's."""
    try:
        files = metadata.files("nvidia-nvjpeg") or []
    except metadata.PackageNotFoundError:
        files = []
    found = [file for file in files if file.name.startswith("libnvjpeg.so")]
    return str(found[0].locate()) if found else "libnvjpeg.so.13"


def judge(library: Library, gpu: bool) -> Finding:
    """What to say of a library, on a machine with a GPU or without."""
    if not library.problem:
        return ok(library.name, f"{library.file} loads")
    if not gpu:
        return ok(library.name, "not there, and without a GPU not needed")
    if library.name == "nvdec":
        remedy = (
            "docker run -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video ...; outside of a "
            "container: sudo apt-get install libnvidia-decode-580 (the driver's version)"
        )
    else:
        remedy = install("nvidia-nvjpeg", again=True)
    return fail(library.name, library.problem, remedy)
