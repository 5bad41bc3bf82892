"""Train a network on your videos, or go on where a run stopped.

  tdn train --data.root videos

needs a folder of videos (or of folders of frames) for each class in videos, and nothing else. It
looks at the videos, keeps some of each class for validation, chooses network, picture size, batch
and number of epochs for this machine, and says why; trains; then tests, predicts the validation
videos, exports the network and writes a report, all in runs/videos. videos/train and
videos/validation, where they are there, are taken as they are. --minutes says how long to train;
--model.pretrained FILE starts from weights, with the network that they are of; any other key below
can be given, too. Given again, the command goes on where it was and repeats nothing.

With a configuration it trains and does nothing else. Lists are files or folders of any kind that
'tdn index --help' names.

  tdn train --config my.yaml --output runs/mine \\
      --data.train_list train.txt --data.validation_list validation.txt
  torchrun --nproc-per-node gpu -m tdn train --config my.yaml --output runs/mine

(without a GPU: a number of processes, such as 2, in place of gpu.)

The run folder (--output) gets config.yaml, log.jsonl, TensorBoard curves and, in checkpoints/,
last.pt and best.pt. Started again, the same command goes on from last.pt; --training.resume none
starts over. SIGTERM, SIGUSR2 and Ctrl-C end it with a checkpoint after the current step.

--profile 10..15 records what Python and the GPU do in these steps, counted from 1 in this session:
<output>/profile gets, for each process, a trace for https://ui.perfetto.dev and a table of the
phases and operators that took the time. In Nsight Systems every phase of a step is an NVTX range.

data.batch_size is per process: on another number of GPUs the learning rate should keep in
proportion to the batch of all, which optimizer.base_batch does; or training.accumulate keeps the
batch. A run that goes on keeps the clips of a step on any number of them.

Exit status: 0 all epochs are done, 75 stopped on request (run it again), 69 ended because nothing
went on (training.stall_exit), 68 because a host is lost (training.host_timeout), 2 a mistake, told
in a line. docs/runs.md says what happens when.
"""

from __future__ import annotations

import argparse
import os

from tdn.commands.configuration import read_config
from tdn.errors import UserError

HELP = "train a network, or go on where a run stopped"
CONFIGURED = "keys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--profile",
        metavar="A..B",
        help="record steps A to B of this session with torch's profiler, such as 10..15",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="without --config: time to train in (2 on a CPU, 60 on a GPU, or less where more "
        "would hardly help)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; 0 if all epochs are done."""
    if arguments.config is None:
        return _run_without_config(arguments)
    if arguments.minutes is not None:
        raise UserError("--minutes: is for a run without --config; give --training.epochs")
    config = read_config(arguments)
    from tdn.training.trainer import train

    return 0 if train(config, arguments.profile).completed else os.EX_TEMPFAIL


def _run_without_config(arguments: argparse.Namespace) -> int:
    if not arguments.overrides:
        raise UserError(
            "give --data.root FOLDER, which has a folder of videos for each class, or a "
            "configuration with --config FILE"
        )
    if arguments.profile is not None:
        raise UserError("--profile: needs --config; give the config.yaml in the run folder")
    from tdn.own_videos.request import Request

    request = Request.of(arguments.overrides, arguments.minutes)
    from tdn.own_videos.run import train_on_folder  # takes seconds, which a mistake need not wait

    return train_on_folder(request)
