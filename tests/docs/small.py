"""``tdn`` on small data: what a page tells to type, with a small network for few clips.

What the words of a command do not say themselves is added to them. A command is carried out but
for those of `NOT_RUN`, whose words are read.
"""

from __future__ import annotations

import functools
import sys

from tdn import cli
from tdn.config_loading import load_config
from tdn.own_videos import run as own_videos
from tdn.pipelines.transcoding import measuring

SMALL = {
    "--model.name": "tdn_resnet10",
    "--model.width": "8",
    "--data.crop_size": "40",
    "--data.short_side": "40",
    "--data.batch_size": "2",
    "--data.num_threads": "1",
    "--training.epochs": "1",
    "--training.cpu_threads": "1",
}
"""Of all commands that take a configuration's keys."""
TAKE_KEYS = ("train", "evaluate", "doctor", "visualize")
CHOSEN = ("--data.crop_size", "--data.short_side", "--data.batch_size", "--data.num_threads")
"""Of `SMALL`, what a training on a folder chooses itself; such videos make it small enough."""
CHOSEN_BY = {
    "--model.pretrained": ("--model.name", "--model.width"),
    "--minutes": ("--training.epochs",),
}
"""Of `SMALL`, what it chooses where this is given."""
FEW_MINUTES = "0.001"
FEW_CLIPS = {"--clips": "12", "--validation-clips": "12", "--workers": "1"}
STATUSES = {"prepare": 1}
"""Instead of 0: few small videos are not the data set that was published."""
NOT_RUN = {
    ("demo",): "trains two networks for minutes: tests/tdn/demo",
    ("verify", "--data"): "takes networks of full size: tests/tdn/verification",
}
"""Commands with these words, why they are not carried out, and which tests do it."""


def smaller(words: list[str]) -> list[str]:
    """A command with what makes it small."""
    command = words[0]
    if command == "demo-data":
        return [*words, *_missing(FEW_CLIPS, words)]
    if command in TAKE_KEYS and "--config" in words:
        return [*words, *_missing(SMALL, words)]
    if command == "train" and "--data.root" in words:
        return _on_a_folder(words)
    return words


def _on_a_folder(words: list[str]) -> list[str]:
    """Small, with all choices left to it that it would make."""
    chosen = {*CHOSEN}.union(*(keys for word, keys in CHOSEN_BY.items() if word in words))
    small = {name: value for name, value in SMALL.items() if name not in chosen}
    few = list(words)
    if "--minutes" in words:
        few[words.index("--minutes") + 1] = FEW_MINUTES
    return [*few, *_missing(small, words)]


def _missing(options: dict[str, str], words: list[str]) -> list[str]:
    given = {word.partition("=")[0] for word in words}
    return [part for name, value in options.items() if name not in given for part in (name, value)]


def check(words: list[str]) -> None:
    """Read a command's words, and its configuration; a mistake raises UserError."""
    arguments = cli.read_options(words)
    if getattr(arguments, "overrides", None) is not None and arguments.config:
        load_config(arguments.config, arguments.overrides)


def main(words: list[str]) -> int:
    """Be ``tdn``; gives the exit status."""
    if not words or words[0].startswith("-") or "--help" in words:
        return cli.main(words)
    for some in NOT_RUN:
        if words[0] == some[0] and set(some) <= set(words):
            check(words)
            return 0
    own_videos.export = lambda _, path: path.touch()  # takes seconds: tests/tdn/own_videos
    measuring.compare = functools.partial(measuring.compare, crop=40, seconds=0.1)
    status = cli.main(smaller(words))
    right = STATUSES.get(words[0], 0)
    return 0 if status == right else status or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
