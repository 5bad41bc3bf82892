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
FEW_CLIPS = {"--clips": "12", "--validation-clips": "12", "--workers": "1"}
STATUSES = {"prepare": (1,), "doctor": (1,)}
"""Besides 0: a piece of a data set is not as published, and a machine may lack something."""
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
    if command in TAKE_KEYS and {"--config", "--data.root"} & set(words):
        return [*words, *_missing(SMALL, words)]
    return words


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
    return 0 if status in STATUSES.get(words[0], ()) else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
