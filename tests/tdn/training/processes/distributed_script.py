"""What each process of test_distributed does; started by torchrun with a folder and its tasks.

The last two tasks end the processes; torchrun starts them again, and they do that task once more.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

import tdn
from benchmarks import trainer_overhead
from tdn.config import TrainingConfig
from tdn.errors import UserError
from tdn.evaluation.evaluator import evaluate
from tdn.training import step
from tdn.training.extras import compilation, mixing
from tdn.training.processes import leaving
from tdn.training.processes.distributed import open_processes
from tdn.training.processes.replicas import replicated
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.training.real_network import synchronised_step
from tests.tdn.training.saving.test_run_folder import damage

RANK = int(os.environ["RANK"])
START = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
PLAIN = {
    "model__name": "tiny",
    "model__dropout": 0.0,
    "data__batch_size": 4,
    "data__validation_list": "31",
}
LAMB_IN_BF16 = {"optimizer__name": "lamb", "optimizer__lr": 0.01, "training__precision": "bf16"}
LOADERS: list[synthetic.SyntheticLoader] = []
REPLICAS: list[int] = []


def create_loader(*arguments: object, **settings: object) -> synthetic.SyntheticLoader:
    LOADERS.append(synthetic.create_loader(*arguments, **settings))
    return LOADERS[-1]


def before_batches(
    hook: Callable[[int, int], object], train: bool = True, ranks: tuple[int, ...] = (0, 1)
) -> None:
    """Have the loaders of a split, on these processes, call something with epoch and step."""

    def create_hooked(*arguments: object, **settings: object) -> synthetic.SyntheticLoader:
        loader = create_loader(*arguments, **settings)
        if loader.train == train and RANK in ranks:
            loader.before_batch = hook
        return loader

    tdn.create_loader = create_hooked


def stopping_at(*at: int) -> Callable[[int, int], object]:
    """Asks the process to stop there."""
    return lambda *now: signal.raise_signal(signal.SIGTERM) if now == at else None


def keep(folder: Path, name: str, value: object) -> None:
    (folder / f"{name}-{RANK}.json").write_text(json.dumps(value))


def run_and_evaluate(folder: Path) -> None:
    """Half the batch on each of two processes; an odd number of validation videos, a profile."""
    config = synthetic.tiny_config(str(folder / "run"), **PLAIN)
    result = train(config, profile="2..3")
    keep(folder, "result", [result.completed, result.step, result.top1, result.best_top1])
    keep(folder, "served", LOADERS[0].served)
    config.output = str(folder / "scores")
    keep(folder, "metrics", evaluate(config, result.best))
    config.data.validation_list, config.output = "1", str(folder / "one_video")
    keep(folder, "one", evaluate(config, result.best))


def accumulate(folder: Path) -> None:
    """Steps of two batches of 2 clips on each process; gradients are averaged once a step."""
    averaged = 0

    def average(group, bucket):  # torch wants no annotations, or those of its own
        nonlocal averaged
        averaged += 1  # the network has one bucket
        return allreduce_hook(group, bucket)

    def counting(*arguments: object) -> nn.Module:
        replica = replicated(*arguments)
        replica.register_comm_hook(None, average)
        return replica

    step.replicated = counting
    train(
        synthetic.tiny_config(
            str(folder / "run"),
            model__name="tiny",
            model__dropout=0.0,
            data__batch_size=2,
            training__accumulate=2,
        )
    )
    step.replicated = replicated
    keep(folder, "averaged", averaged)
    train(synthetic.tiny_config(str(folder / "lamb"), **PLAIN, **LAMB_IN_BF16))


def compress(folder: Path) -> None:
    """Gradients as bf16, averaged once in two batches; compiled; and how replicas are set up."""
    config = synthetic.tiny_config(
        str(folder / "run"),
        model__name="tiny",
        model__dropout=0.0,
        data__batch_size=2,
        training__accumulate=2,
        training__gradient_compression="bf16",
    )
    train(config)
    compilation.BACKEND = "aot_eager"  # inductor takes a minute
    config.output, config.training.compile = str(folder / "compiled"), "default"
    train(config)
    config.data.batch_size, config.training.accumulate = 4, 1  # so that the graph is static
    config.output = str(folder / "static")
    train(config)
    with open_processes(config.training) as processes:
        for passes in (1, 2):
            replica = replicated(nn.Linear(2, 2), processes, passes)
            views = replica.gradient_as_bucket_view, replica.find_unused_parameters
            keep(folder, f"replica{passes}", [replica.static_graph, *views])
            del replica


def average_weights(folder: Path) -> None:
    """A moving average of weights and of the main process's statistics."""
    train(synthetic.tiny_config(str(folder / "run"), data__batch_size=4, training__ema=0.8))


def synchronise(folder: Path) -> None:
    """Batch norm over both processes: in a run, and in a step of the real network."""
    train(
        synthetic.tiny_config(
            str(folder / "run"),
            model__dropout=0.0,
            data__batch_size=4,
            training__sync_bn=True,
            training__precise_bn=12,
        )
    )
    with open_processes(TrainingConfig(device="cpu")) as processes:
        torch.save(synchronised_step(processes), folder / f"step-{RANK}.pt")
        recomputed = synchronised_step(processes, recomputed=(1, 2, 3, 4))
        torch.save(recomputed, folder / f"recomputed-{RANK}.pt")


def stop_and_resume(folder: Path) -> None:
    """Only the second process is asked to stop; both must, after the same step."""
    settings = {
        "model__dropout": 0.5,
        "data__batch_size": 4,
        "optimizer__name": "adamw",
        "optimizer__lr": 0.02,
        "optimizer__base_batch": 16,
        "training__log_every": 5,
        "training__save_every_steps": 4,
        "training__precision": "fp16",
        "training__mixup": 0.8,
        "training__cutmix": 1.0,
    }
    mixes: list[list[object]] = []

    def draw_mix(*place: object) -> mixing.Mix | None:
        mixes.append([place[2], repr(mixing.draw_mix(*place))])
        return mixing.draw_mix(*place)

    step.draw_mix = draw_mix
    config = synthetic.tiny_config(str(folder / "run"), **settings)
    train(synthetic.tiny_config(str(folder / "whole"), **settings))
    keep(folder, "mixes", mixes)
    step.draw_mix = mixing.draw_mix
    LOADERS.clear()
    before_batches(stopping_at(1, 1), ranks=(1,))
    stopped = train(config)
    tdn.create_loader = create_loader
    keep(folder, "stopped", [stopped.completed, stopped.step])
    keep(folder, "resumed", train(config).completed)


def change_processes(folder: Path) -> None:
    """One process, then two, then one again, each stopped after some steps."""
    config = synthetic.tiny_config(str(folder / "run"), model__name="tiny")

    def alone(task: Callable[[], object]) -> None:
        if RANK == 0:
            del os.environ["RANK"]
            task()
            os.environ["RANK"] = "0"

    before_batches(stopping_at(0, 3))
    alone(lambda: train(config))
    before_batches(stopping_at(1, 1))
    train(config)
    tdn.create_loader = create_loader
    alone(lambda: train(config))
    trained = [loader for loader in LOADERS if loader.train]
    keep(folder, "served", [loader.served for loader in trained])


def stop_while_validating(folder: Path) -> None:
    """Only the second process is asked to stop, in the first validation."""
    config = synthetic.tiny_config(str(folder / "run"), data__batch_size=4)
    before_batches(lambda *_: signal.raise_signal(signal.SIGTERM), train=False, ranks=(1,))
    stopped = train(config)
    keep(folder, "stopped", [stopped.completed, stopped.step, stopped.top1])
    tdn.create_loader = create_loader
    keep(folder, "resumed", train(config).completed)


def fail_on_one(folder: Path) -> None:
    """A mistake that only the second process can see ends both, and one tells."""

    def failing_loader(*arguments: object, **settings: object) -> synthetic.SyntheticLoader:
        if RANK == 1:
            raise UserError("train.txt: not on this host")
        return create_loader(*arguments, **settings)

    tdn.create_loader = failing_loader
    ends(folder, lambda: train(synthetic.tiny_config(str(folder / "run"))))


def see_other_videos(folder: Path) -> None:
    """The second process lacks a video: the steps agree, the order would not."""
    config = synthetic.tiny_config(str(folder / "run"))
    if RANK == 1:
        config.data.validation_list = str(int(config.data.validation_list) - 1)
    ends(folder, lambda: train(config))


def diverge_on_one(folder: Path) -> None:
    """A loss that is no number on the second process only."""
    true = synthetic.make_batch

    def make_batch(rows):
        batch = true(rows)
        if RANK == 1 and len(LOADERS[0].served) == 3:
            keep(folder, "poisoned", rows.tolist())
            return batch._replace(clips=batch.clips.float() * float("nan"))
        return batch

    synthetic.make_batch = make_batch
    ends(folder, lambda: train(synthetic.tiny_config(str(folder / "run"), data__batch_size=4)))
    synthetic.make_batch = true


def skip_on_one(folder: Path) -> None:
    """A loss that is no number on the second process only; the update is left out on both."""
    true, models = synthetic.make_batch, []

    def make_batch(rows):
        batch = true(rows)
        if RANK == 1 and len(LOADERS[0].served) == 8:
            keep(folder, "poisoned", rows.tolist())
            return batch._replace(clips=batch.clips.float() * float("nan"))
        return batch

    def create_model(*arguments: object, **settings: object) -> nn.Module:
        models.append(synthetic.create_model(*arguments, **settings))
        return models[-1]

    synthetic.make_batch, tdn.create_model = make_batch, create_model
    settings = {"data__batch_size": 4, "training__non_finite": "skip", "training__log_every": 1}
    scaled = {"training__precision": "fp16", "optimizer__name": "lamb", "optimizer__lr": 0.01}
    for name, more in (("run", {}), ("scaled", scaled)):
        LOADERS.clear()
        train(synthetic.tiny_config(str(folder / name), **settings, **more))
    synthetic.make_batch, tdn.create_model = true, synthetic.create_model
    keep(folder, "weights", [[v.tolist() for v in model.parameters()] for model in models])
    kept = [value.isfinite().all().item() for model in models for value in model.buffers()]
    keep(folder, "buffers", kept)


def stall(folder: Path) -> None:
    """The second process waits for its data until the stall is told; then both go on."""
    told = folder / "run" / "stall.txt"
    before_batches(lambda *at: at == (1, 2) and wait_for(told), ranks=(1,))
    settings = {"data__batch_size": 4, "training__stall_timeout": 2.0}
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        result = train(synthetic.tiny_config(str(folder / "run"), **settings))
    keep(folder, "stalled", [result.completed, said.getvalue()])


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def lose_checkpoints(folder: Path) -> None:
    """The main process's disk is full; then what it had saved last is damaged."""
    config = synthetic.tiny_config(str(folder / "run"), **PLAIN, training__save_every_steps=1)
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = io.StringIO()  # the processes' own output may go to a long file
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if START == 0:
            limit = resource.RLIMIT_FSIZE, (4000, room[1])  # the log fits, a checkpoint does not
            before_batches(lambda *at: at == (1, 1) and resource.setrlimit(*limit), ranks=(0,))
            ends(folder, lambda: train(config))
            resource.setrlimit(resource.RLIMIT_FSIZE, room)
            sys.exit(2)
        if RANK == 0:
            damage(Path(config.output, "checkpoints", "last.pt"))
        train(config)
    keep(folder, "resumed", said.getvalue())


def end_stalled(folder: Path) -> None:
    """The second process's data never come, until torchrun has started both again."""
    settings = {"training__stall_exit": True, "training__save_every_steps": 1}
    settings["training__stall_timeout"] = 600.0
    if START == 1:
        settings["training__stall_timeout"] = 2.0
        before_batches(lambda *at: at == (1, 2) and wait_for(folder / "nothing"), ranks=(1,))
    train(synthetic.tiny_config(str(folder / "run"), **PLAIN, **settings))


def measure_overhead(folder: Path) -> None:
    """Of the demo's real network."""
    tdn.create_model = create_model
    trainer_overhead.main(["--rounds", "1", "--steps", "1", "--output", str(folder / "row.jsonl")])
    tdn.create_model = synthetic.create_model


def lose_videos(folder: Path) -> None:
    """Each process loses a few of the 44 videos, both together more than a tenth."""
    rows = {(0, 2): ([1, 2], [2, 3]), (1, 1): ([4], []), (1, 3): ([], [5])}
    before_batches(lambda *at: LOADERS[0].lost.update(rows.get(at, ((), ()))[RANK]))
    config = synthetic.tiny_config(str(folder / "run"), data__batch_size=4)
    ends(folder, lambda: train(config))
    keep(folder, "lost", LOADERS[0].served[-1][:2])
    before_batches(lambda *_: LOADERS[-1].lost.update([(1, 2), (2, 3, 4)][RANK]), train=False)
    config.output = str(folder / "validation")
    ends(folder, lambda: train(config), "validation")


def ends(folder: Path, task: Callable[[], object], name: str = "end") -> None:
    try:
        task()
    except UserError as error:
        keep(folder, name, ["told", str(error)])
    except SystemExit as error:
        keep(folder, name, ["silent", error.code])


def gather(folder: Path) -> None:
    with open_processes(TrainingConfig(device="cpu")) as processes:
        everyone = processes.gather(RANK * 10)
        on_main = processes.gather_to_main([RANK])
        from_main = processes.from_main(f"from {RANK}")
        anyone = [processes.any(rank == RANK) for rank in (0, 1, 2)]
        keep(folder, "gathered", [everyone, on_main, from_main, anyone])


def destroy_and_count() -> None:
    """Leave the group, and note how many replicas of a network still belong to it."""
    REPLICAS.append(sum(type(thing) is DistributedDataParallel for thing in gc.get_objects()))
    destroy()


if __name__ == "__main__":
    leaving.LINGER = 0.0
    destroy, dist.destroy_process_group = dist.destroy_process_group, destroy_and_count
    create_model, tdn.create_model = tdn.create_model, synthetic.create_model
    tdn.load_checkpoint = synthetic.load_checkpoint
    names = sys.argv[START - 3 :] if START else sys.argv[2:]
    assert START == 0 or Path(sys.argv[1], names[0]).exists(), "another task has failed"
    for name in names:
        LOADERS.clear()
        REPLICAS.clear()
        tdn.create_loader = create_loader
        task_folder = Path(sys.argv[1], name)
        task_folder.mkdir(exist_ok=True)
        globals()[name](task_folder)
        keep(task_folder, "replicas", REPLICAS)
