"""The clips of a configuration: what is known of them, or of a few, and the memory they take.

A list that was never indexed is not indexed for this: some of its clips, evenly spread, stand for
all.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tdn.config import Config
from tdn.doctor import processors
from tdn.doctor.findings import Finding, fail, mistake, ok, warn
from tdn.errors import UserError
from tdn.pipelines.decoding.decoders import describe_decoders
from tdn.pipelines.indexing.manifest_cache import cache_path
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests.manifest import Manifest, is_manifest
from tdn.pipelines.sampling.plans import Planner
from tdn.pipelines.sources.listing import Listing, read_class_names
from tdn.pipelines.sources.reading import read_listing
from tdn.pipelines.streaming.memory import MemoryNeed, check_memory

GB = 1e9
SAMPLE = 16
"""Clips that stand for all of a list."""


class Clips(NamedTuple):
    """What is known of a split's clips."""

    source: str
    rows: int
    """In all."""
    known: int
    """Of them, how many were opened, now or when the list was indexed."""
    usable: int
    """Of the known ones."""
    problem: str = ""
    """Why one of them is not, with its path; else empty."""
    decoders: str = ""
    """How many there are of each codec, and who decodes them."""
    highest: int = 0
    """Label."""
    names: int = 0
    """Class names that the source gives; 0 if it gives numbers."""


class Memory(NamedTuple):
    """What decoding takes, and what there is; bytes."""

    need: MemoryNeed
    on_gpu: bool
    processes: int
    """Of this machine."""
    free: int
    """Of the host's memory."""
    device: int
    """Of the GPU's memory, in all; 0 without one."""


def check_split(
    config: Config, key: str, device: torch.device, processes: int
) -> Iterator[Finding]:
    """Look at the clips of ``data.train_list`` or ``data.validation_list``.

    Args:
        config: The configuration.
        key: Of the two, without "data.".
        device: Where clips are decoded.
        processes: Of a run on this machine.
    """
    name, source, train = f"data.{key}", getattr(config.data, key), key == "train_list"
    if not source:
        yield warn(name, "is empty", f"--{name} FILE")
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            clips, manifest = _look(config, source, Path(folder), device.type == "cuda")
            batch = config.data.batch_size if train else 0
            yield judge(name, clips, config.model.num_classes, batch, processes)
            if manifest is None or not clips.usable:
                return
            name = "train memory" if train else "validation memory"
            planner = Planner(manifest, config.data, config.model.num_segments, train)
            yield judge_memory(name, _memory(planner, device, processes))
    except UserError as error:
        yield mistake(name, error)


def _look(config: Config, source: str, folder: Path, gpu: bool) -> tuple[Clips, Manifest | None]:
    """What is known of the clips, and a manifest of them or of some; None of tar shards."""
    data = config.data
    classes = read_class_names(data.classes) if data.classes else ()
    manifest = _indexed(source, cache_path(source, data.root, classes, data.frame_template))
    if manifest is not None:
        rows, labels, names = len(manifest), manifest.labels, manifest.classes
    else:
        listing = read_listing(source, classes)
        rows, labels, names = len(listing.paths), np.array(listing.labels), listing.classes
        if not listing.members:
            manifest = _sampled(listing, folder, data.root, data.frame_template)
    known = 0 if manifest is None else len(manifest)
    clips = Clips(source, rows, known, 0, highest=int(labels.max()), names=len(names))
    if manifest is None:
        return clips, None
    problems = [f"{path}: {why}" for _, path, why in manifest.problems(1)]
    return (
        clips._replace(
            usable=len(manifest.usable),
            problem="".join(problems),
            decoders=describe_decoders(manifest, gpu),
        ),
        manifest,
    )


def _indexed(source: str, cache: Path) -> Manifest | None:
    """The manifest, if it was given, or made of the list as it is now."""
    if is_manifest(source):
        return Manifest(source)
    listed = Path(source)
    if listed.is_file() and cache.exists() and cache.stat().st_mtime >= listed.stat().st_mtime:
        return Manifest(cache)
    return None


def _sampled(listing: Listing, folder: Path, root: str, template: str) -> Manifest:
    """Index some clips of a list."""
    rows = np.linspace(0, len(listing.paths) - 1, min(SAMPLE, len(listing.paths))).astype(int)
    few = folder / "few.csv"
    with few.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((listing.paths[row], listing.labels[row]) for row in rows)
    manifest = folder / "few.arrow"
    index_list(few, manifest, root=root or listing.root, template=template, progress=False)
    return Manifest(manifest)


def judge(name: str, clips: Clips, num_classes: int, batch: int, processes: int) -> Finding:
    """What to say of a split's clips.

    Args:
        name: The split's key.
        clips: What is known.
        num_classes: Of the network.
        batch: Clips that a process needs for a step; 0 if it makes do with any number.
        processes: Of this machine.
    """
    words = f"{clips.source}: {clips.rows} clips"
    if clips.names not in (0, num_classes):
        found = f"{words} of {clips.names} named classes, but model.num_classes is {num_classes}"
        return fail(name, found, f"--model.num_classes {clips.names}")
    if clips.highest >= num_classes:
        found = f"{words} with labels up to {clips.highest}, but {num_classes} classes"
        return fail(name, found, f"--model.num_classes {clips.highest + 1}, or correct the labels")
    if not clips.known:
        return ok(name, f"{words} in shards, not indexed yet")
    if clips.known < clips.rows:
        words += f", {clips.known} of them opened"
    if not clips.usable:
        found = f"{words}: none is usable, such as {clips.problem}"
        return fail(name, found, "correct the paths, or --data.root FOLDER")
    if clips.usable + clips.rows - clips.known < batch * processes:
        found = f"{words}: {clips.usable} usable, fewer than the {batch * processes} of a step"
        return fail(name, found, f"--data.batch_size {max(1, clips.usable // processes)}")
    if clips.usable < clips.known:
        found = f"{words}: {clips.usable} usable ({clips.decoders}), but not {clips.problem}"
        return warn(name, found, f"tdn index {clips.source} -o manifest.arrow lists all such clips")
    return ok(name, f"{words}: all usable ({clips.decoders})")


def _memory(planner: Planner, device: torch.device, processes: int) -> Memory:
    gpu = device.type == "cuda"
    total = torch.cuda.get_device_properties(device).total_memory if gpu else 0
    need = check_memory(planner, device)
    return Memory(need, gpu, processes, processors.look().free_memory, total)


def judge_memory(name: str, memory: Memory) -> Finding:
    """What to say of the memory that decoding takes."""
    need, processes = memory.need, memory.processes
    host = (need.host + (0 if memory.on_gpu else need.device)) * processes
    words = f"{host / GB:.1f} of {memory.free / GB:.1f} GB that are free"
    if memory.on_gpu:
        words = f"{need.device / GB:.1f} of a GPU's {memory.device / GB:.1f} GB, and {words}"
    found = f"decoding takes up to {words}"
    if host > memory.free / 2 or need.device * memory.on_gpu > memory.device / 2:
        remedy = "a lower --data.batch_size, or smaller copies: tdn transcode --help"
        return warn(name, found, remedy)
    return ok(name, found)
