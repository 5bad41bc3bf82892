"""Testing a checkpoint: the scores of every video of the validation list, once.

    tdn evaluate --config runs/mine/config.yaml --checkpoint runs/mine/checkpoints/best.pt

The processes take disjoint parts of the list and meet only at the end, so their number does not
matter. The main process writes scores.npz and metrics.json.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import tdn
from tdn.checkpoint import LoadReport
from tdn.config import Config
from tdn.config_loading import config_to_dict, resolve_config
from tdn.errors import UserError
from tdn.evaluation.by_class import ByClass
from tdn.evaluation.collecting import Collector
from tdn.evaluation.forward import predict
from tdn.evaluation.partial import PartialScores
from tdn.evaluation.scores import Scores, save_metrics
from tdn.files import write_atomically
from tdn.pipelines.storage import checksum
from tdn.trained import trained_network
from tdn.training.build import check_same_data
from tdn.training.class_names import check_same_classes
from tdn.training.distributed import Processes, device_name, open_processes
from tdn.training.precision import Precision, choose_precision
from tdn.training.reporting.console import shows_bar
from tdn.training.run_folder import make_folder
from tdn.training.state import versions

if TYPE_CHECKING:
    from tdn.pipelines.loader import Loader

_log = logging.getLogger(__name__)


def evaluate(
    config: Config | str | Path, checkpoint: str | Path, *, raw: bool = False
) -> dict[str, Any]:
    """Score the validation list with a checkpoint; under ``torchrun`` on all its processes.

    Writes ``scores.npz``, ``metrics.json``, ``classes.csv`` (accuracy by class), ``confusion.csv``
    and ``confusion.png`` to the output folder. An interrupted evaluation goes on where it was.

    Args:
        config: Configuration, or the path of its YAML file.
        checkpoint: One of ours or a published one, for the configuration's network.
        raw: Test the weights of the last step even where the checkpoint has averaged ones.

    Returns:
        The metrics as in the file, the same on all processes: top1, top5 and mean_class_accuracy
        in percent, videos, views and what they were measured with.

    Raises:
        UserError: The checkpoint does not fit the network, or the data or the folder are unusable.
    """
    config = resolve_config(config)
    began = time.monotonic()
    with ExitStack() as stack:
        processes = stack.enter_context(open_processes(config.training))
        with processes.failing_together():
            output = make_folder(config.output)
            precision = choose_precision(config.training.precision, processes.device)
            place = {"rank": processes.rank, "world_size": processes.world_size}
            loader = tdn.create_loader(config, "test", **place)
            stack.enter_context(closing(loader))
            model, report = _trained_model(config, checkpoint, loader.classes, raw)
            model.to(processes.device)
        check_same_data(processes, validation_list=loader)
        videos = loader.videos
        partial, former = _resumed(config, checkpoint, raw, loader, output, precision, processes)
        bar = "evaluating" if shows_bar(config, processes.is_main) else None
        with processes.failing_together():
            mine = score(model, loader, precision, processes.device, bar, partial)
        parts = [part for part in (former, *processes.gather_to_main(mine)) if part is not None]
        metrics = None
        with processes.failing_together():
            if processes.is_main:
                _check_share(sum(len(part.indices) for part in parts), videos, config)
                scores = Scores.merged(parts)
                names = loader.classes or report.classes
                by_class = ByClass.of(scores, names)
                metrics = _metrics(scores, loader.listed, config, checkpoint, precision, processes)
                metrics |= {"mean_class_accuracy": by_class.mean_accuracy}
                metrics |= {"averaged_weights": report.averaged, "class_names": list(names)}
                scores.save(output / "scores.npz")
                _save_by_class(by_class, output)
                save_metrics(output / "metrics.json", metrics)
                partial.remove()
                _print(metrics, output, time.monotonic() - began)
        result: dict[str, Any] = processes.from_main(metrics)
        return result


def score(
    model: nn.Module,
    loader: Loader,
    precision: Precision,
    device: torch.device,
    bar: str | None = None,
    partial: PartialScores | None = None,
) -> Scores | None:
    """The scores of a loader's videos, each with all its views.

    Args:
        model: On the device; put into evaluation mode.
        loader: Test clips, each video once.
        precision: What the network computes in.
        device: Where.
        bar: What to call a progress bar; None for no bar.
        partial: Where to keep scores now and then; None for nowhere.

    Returns:
        The scores; None if the loader has no videos, as with more processes than videos.
    """
    collector = Collector(loader.views_per_video)
    parts = []
    try:
        for batch, logits in predict(model, loader, precision, device, bar):
            collector.add(batch, logits)
            if partial is not None and partial.is_due():
                parts.append(collector.take())
                partial.write(parts[-1])
    except KeyboardInterrupt:
        if partial is not None:
            partial.write(collector.take())
        raise
    parts.append(collector.take())
    found = [part for part in parts if part is not None]
    return Scores.merged(found) if found else None


def _resumed(
    config: Config,
    checkpoint: str | Path,
    raw: bool,
    loader: Loader,
    output: Path,
    precision: Precision,
    processes: Processes,
) -> tuple[PartialScores, Scores | None]:
    """Where scores are kept meanwhile; and on the main process what an earlier try has left, whose
    videos the loader then leaves out; all must call it."""
    key, former = None, None
    with processes.failing_together():
        if processes.is_main:
            tree = config_to_dict(config)
            parts = [tree[name] for name in ("seed", "model", "data", "evaluation")]
            parts += [raw, precision.name, loader.fingerprint(), checksum(str(checkpoint))]
            key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
            former = PartialScores(output, key, 0).read()
    partial = PartialScores(output, processes.from_main(key), processes.rank)
    done = processes.from_main(None if former is None else former.indices)
    if done is not None:
        loader.leave_out(done)
        _log.info(
            "%s: %d of %d videos were scored before", output, len(done), len(done) + loader.videos
        )
    return partial, former


def _save_by_class(results: ByClass, output: Path) -> None:
    from tdn.visualization.confusion import confusion_figure

    results.save_table(output / "classes.csv")
    results.save_confusion(output / "confusion.csv")
    figure = confusion_figure(results)
    write_atomically(output / "confusion.png", lambda file: figure.savefig(file, format="png"))


def _trained_model(
    config: Config, checkpoint: str | Path, classes: tuple[str, ...], raw: bool
) -> tuple[nn.Module, LoadReport]:
    """The network with the checkpoint's weights, and what these are."""
    model, report = trained_network(config.model, checkpoint, raw=raw)
    check_same_classes("data.validation_list", classes, str(checkpoint), report.classes)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, report


def _check_share(scored: int, videos: int, config: Config) -> None:
    """Refuse results of too few of the videos; the processes have counted only their own."""
    lost, share = videos - scored, config.data.max_bad_share
    if scored == 0 or lost > share * videos:
        raise UserError(
            f"{lost} of {videos} videos cannot be decoded, see above; check the storage, or "
            f"raise data.max_bad_share ({share})"
        )


def _metrics(
    scores: Scores,
    listed: int,
    config: Config,
    checkpoint: str | Path,
    precision: Precision,
    processes: Processes,
) -> dict[str, Any]:
    return {
        **scores.accuracy(),
        "videos": scores.logits.shape[0],
        "listed": listed,
        "left_out": listed - scores.logits.shape[0],
        "views": scores.logits.shape[1],
        "clips": config.evaluation.clips,
        "crops": config.evaluation.crops,
        "classes": scores.logits.shape[2],
        "checkpoint": str(checkpoint),
        "validation_list": config.data.validation_list,
        "model": config.model.name,
        "num_segments": config.model.num_segments,
        "precision": precision.name,
        "device": device_name(processes.device),
        "world_size": processes.world_size,
        "versions": versions(),
    }


def _print(metrics: dict[str, Any], output: Path, seconds: float) -> None:
    print(
        f"top-1 {metrics['top1']:.2f} %, top-5 {metrics['top5']:.2f} % on {metrics['videos']} "
        f"videos{_left_out(metrics)}, {_protocol(metrics)}, {metrics['videos'] / seconds:.1f} a "
        f"second; scores in {output / 'scores.npz'}",
        flush=True,
    )


def _left_out(metrics: dict[str, Any]) -> str:
    left_out = metrics["left_out"]
    return f" ({left_out} of the list's {metrics['listed']} left out)" if left_out else ""


def _protocol(metrics: dict[str, Any]) -> str:
    """The views of a video, in words."""
    counts = [(metrics["clips"], "clip"), (metrics["crops"], "crop")]
    return " x ".join(f"{n} {thing}{'s' if n > 1 else ''}" for n, thing in counts)
