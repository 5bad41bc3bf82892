"""From a folder of videos to a run's lists and configuration, once for each run folder."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdn.config import Config
from tdn.config_loading import absolute_paths, check_config, dump_config, load_config
from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.own_videos import choices as ch
from tdn.own_videos import continuing
from tdn.own_videos import folder as video_folder
from tdn.own_videos import weights as weight_files
from tdn.own_videos.copies import are_worth_it, copy_training_videos
from tdn.own_videos.lists import Lists
from tdn.own_videos.machine import this_machine
from tdn.own_videos.request import Request, given_keys, without
from tdn.own_videos.split import Video, group, split
from tdn.own_videos.trial import measure_epoch
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sources.listing import read_class_names
from tdn.training.saving.run_folder import RunFolder
from tdn.training.saving.run_lock import run_lock

_PLACES = ("data.root", "data.train_list", "data.validation_list", "output")
"""Keys that a run's own configuration has complete, whatever folder a command is given in."""
FETCH = "https://download.pytorch.org/models/"
IMAGENET = {"cpu": "resnet18-f37072fd.pth", "cuda": "resnet50-19c8e357.pth"}
"""Files there, of networks that were trained on ImageNet."""


@dataclass(frozen=True)
class Prepared:
    """A run that can be trained.

    Attributes:
        config: Complete.
        processes: That train together.
        epoch_seconds: What an epoch was measured to take.
    """

    config: Config
    processes: int
    epoch_seconds: float


def prepare(request: Request) -> Prepared:
    """Make a run's lists and configuration, or find those that were made before.

    Raises:
        UserError: The videos, a setting or the run folder cannot be used.
    """
    root = Path(request.config.output)
    folder, record = RunFolder(root), root / "own-videos.json"
    if record.exists() and folder.config.exists():
        return _found(request, folder, record)
    if not record.exists() and (folder.config.exists() or folder.log.exists()):
        raise UserError(
            f"output: {root} holds a run that was started with --config; go on with it so, or give "
            "another --output"
        )
    new = _New(request)
    with run_lock(root):
        return new.write(folder, record)


def _found(request: Request, folder: RunFolder, record: Path) -> Prepared:
    """A run that was prepared before, with what is now asked for otherwise."""
    former = json.loads(record.read_text(encoding="utf-8"))
    keys = given_keys(request.words)
    about = request.about
    if "seed" not in keys:
        del about["seed"]
    continuing.check_about(folder.root, about, former["about"])
    epochs = None
    if request.minutes is not None and "training.epochs" not in keys:
        epochs = ch.epochs_in(former["epoch_seconds"], request.minutes, ch.NO_LIMIT)
    config = continuing.settings_now(folder, without(request.words, _PLACES), epochs)
    config.output = request.config.output
    if request.divides:
        _tell_changes(request, folder)
    if epochs is not None:
        print(f"training.epochs {epochs}: {request.minutes:g} minutes in all")
    if "training.accumulate" not in keys:
        _keep_step(config, former)
    return Prepared(config, _processes_now(config, former), former["epoch_seconds"])


def _processes_now(config: Config, former: dict[str, Any]) -> int:
    """As many as began, or as the GPUs that are left allow if a step is to have the same clips."""
    began: int = former["processes"]
    most = max(1, this_machine(config.training.device, config.training.precision).gpus)
    return max(count for count in range(1, began + 1) if began % count == 0 and count <= most)


def _keep_step(config: Config, former: dict[str, Any]) -> None:
    """Fewer processes than began take more batches a step each."""
    began, now = former["processes"], _processes_now(config, former)
    config.training.accumulate = former.get("accumulate", 1) * began // now
    if now < began:
        print(
            f"training.accumulate {config.training.accumulate}: {now} of {began} processes have a "
            "GPU now"
        )


def _tell_changes(request: Request, folder: RunFolder) -> None:
    root, lists = Path(request.config.data.root), Lists(folder.root)
    changes = video_folder.changes(root, Manifest(lists.found))
    if any(changes):
        print(
            f"{root}: {changes} since; the run keeps its lists, {lists.train} and "
            f"{lists.validation}: give another --output for a run with all that is there now"
        )


class _New:
    """A run to be: everything is read and checked before anything is written.

    Args:
        request: What is asked for.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.given = request.config
        self.machine = this_machine(self.given.training.device, self.given.training.precision)
        pretrained = self.given.model.pretrained
        self.weights = weight_files.look_into(Path(pretrained)) if pretrained else None
        self.videos: video_folder.VideoFolder | None = None
        self.sides: tuple[list[Video], list[Video]] = [], []
        if request.divides:
            self._divide(Path(self.given.data.root))

    def _divide(self, root: Path) -> None:
        self.videos = videos = video_folder.look_into(root, self.given.data.frame_template)
        if "" in videos.sides:
            done = split(videos.sides[""], self.given.seed)
            self.sides = done.train, done.validation
            videos.notes += [
                f"the same video stands in several classes: {', '.join(v.path for v in source)}"
                for source in done.contradictory
            ]
        else:
            self.sides = videos.sides["train"], videos.sides["validation"]
            videos.notes += _leaks(*self.sides)
        for note in videos.notes:
            print(note)
        unknown = sorted({*videos.classes} - {*self.classes})
        if unknown:
            raise UserError(f"data.classes: does not name '{unknown[0]}', a folder of {root}")
        _tell_sides(*self.sides, self.given.seed if "" in videos.sides else None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label: as given, else the folders' own; none where lists give numbers."""
        file = self.given.data.classes
        if file:
            return read_class_names(file)
        return self.videos.classes if self.videos is not None else ()

    def write(self, folder: RunFolder, record: Path) -> Prepared:
        """Write lists and configuration to the run folder."""
        facts = self._facts()
        count = str(len(facts.classes))
        config = load_config(None, ["--model.num_classes", count, *self.request.words])
        config.output = self.given.output
        choices = ch.Choices(config, given_keys(self.request.words))
        ch.choose(choices, self.machine, facts, self.weights)
        check_config(config)
        lists = Lists(folder.root)
        if self.videos is not None:
            lists.check_free()
        try:
            if self.videos is not None:
                self._write_lists(lists, self.videos, config)
                if are_worth_it(config, self.machine, facts):
                    self._copy(lists, config, facts)
            prepared = self._measured(choices, facts)
        except BaseException:  # a mistake that only the loader sees, or Ctrl-C
            if self.videos is not None:
                lists.remove()
            raise
        self._tell(choices)
        content = {
            "about": self.request.about,
            "processes": prepared.processes,
            "accumulate": config.training.accumulate,
            "epoch_seconds": prepared.epoch_seconds,  # whole: the same minutes, the same epochs
        }
        write_text_atomically(record, json.dumps(content, indent=2) + "\n")
        write_text_atomically(folder.config, dump_config(absolute_paths(config)))
        return prepared

    def _facts(self) -> ch.Videos:
        """What the settings depend on."""
        if self.videos is not None:
            side = _usual_side([self.videos.manifest])
            return ch.Videos(len(self.sides[0]), self.classes, side)
        data, names = self.given.data, self.classes
        train, validation = (
            manifest_of(source, data.root, classes=names, template=data.frame_template)
            for source in (data.train_list, data.validation_list)
        )
        for manifest in (train, validation):
            manifest.check_usable()
        highest = max(int(lst.labels.max(initial=0)) for lst in (train, validation))
        classes = names or train.classes or tuple(map(str, range(highest + 1)))
        return ch.Videos(len(train.usable), classes, _usual_side([train, validation]))

    def _write_lists(self, lists: Lists, found: video_folder.VideoFolder, config: Config) -> None:
        root, data = found.root.absolute(), config.data
        lists.write(root, found.manifest, self.classes, *self.sides, data.frame_template)
        data.root, data.classes = str(root), str(lists.classes)
        data.train_list, data.validation_list = str(lists.train), str(lists.validation)

    def _copy(self, lists: Lists, config: Config, facts: ch.Videos) -> None:
        """Train on small copies."""
        print(
            f"Half of the videos have {facts.side} pixels or more, and there is no GPU to decode "
            f"them: making small copies to train on, in {lists.copies} ...",
            flush=True,
        )
        config.data.train_list = str(copy_training_videos(config, lists.copies))

    def _measured(self, choices: ch.Choices, facts: ch.Videos) -> Prepared:
        """Choose how long to train."""
        config = choices.config
        together = ch.processes(self.machine, facts.train)
        print(f"{self.machine}; trying some steps ...", flush=True)
        seconds, batch = measure_epoch(config, together)
        if batch != config.data.batch_size:
            config.data.batch_size = batch
            choices.chosen.append(
                ch.Choice("data.batch_size", batch, "as more does not fit into the GPU's memory")
            )
        minutes, most = self.request.minutes, ch.NO_LIMIT
        if minutes is None:
            minutes = ch.MINUTES["cuda" if self.machine.gpus else "cpu"]
            most = ch.MOST_EPOCHS if self.weights is None else ch.MOST_EPOCHS_FROM_WEIGHTS
        ch.choose_epochs(choices, seconds, minutes, most)
        return Prepared(config, together, seconds)

    def _tell(self, choices: ch.Choices) -> None:
        print("Settings that fit; any of them can be given otherwise, as --KEY VALUE:")
        width = max(len(choice.key) for choice in choices.chosen)
        for choice in choices.chosen:
            print(f"  {choice.key:{width}}  {ch.in_words(choice.value):12}  {choice.reason}")
        if self.weights is None:
            file = IMAGENET["cuda" if self.machine.gpus else "cpu"]
            print(
                "It starts from random weights. With some to start from it does better: fetch "
                f"{FETCH}{file} and add --model.pretrained {file} --output "
                f"{shlex.quote(self.given.output + '-tuned')}"
            )


def _leaks(train: Sequence[Video], validation: Sequence[Video]) -> list[str]:
    """What stands on both sides of a division that was there already."""
    trained = {video.path for video in train}
    both = [
        source
        for source in group([*train, *validation])
        if len({video.path in trained for video in source}) > 1
    ]
    if not both:
        return []
    example = " and ".join(sorted(video.path for video in both[0])[:2])
    return [
        f"on both sides: {len(both)} of the videos, such as {example}; so the accuracy will be "
        "too good to be true"
    ]


def _tell_sides(train: Sequence[Video], validation: Sequence[Video], seed: int | None) -> None:
    counts = Counter(video.name for video in (*train, *validation))
    fewest, most = min(counts.values()), max(counts.values())
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    how = "" if seed is None else f" (drawn with seed {seed})"
    print(
        f"{counts.total()} videos, {len(counts)} classes of {each}: {len(train)} to train on, "
        f"{len(validation)} to validate{how}"
    )


def _usual_side(manifests: Sequence[Manifest]) -> int:
    """The shorter side, in pixels, that half of the videos have or exceed."""
    sides = [
        np.minimum(*(found.table[name].to_numpy()[found.usable] for name in ("width", "height")))
        for found in manifests
    ]
    return int(np.median(np.concatenate(sides)))
