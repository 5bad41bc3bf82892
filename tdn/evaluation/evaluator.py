"""Testing a checkpoint: the scores of every video of the validation list, once.

    tdn evaluate --config runs/mine/config.yaml --checkpoint runs/mine/checkpoints/best.pt

The processes take turns with the list's batches and meet only at the end, so their number does not
matter. The main process writes the results.
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
from tdn.config import Config
from tdn.config_loading import config_to_dict, resolve_config
from tdn.errors import UserError
from tdn.evaluation.collecting import Collector, ScoredViews
from tdn.evaluation.partial import PartialScores
from tdn.evaluation.results import in_words, save_results
from tdn.evaluation.scores import Scores
from tdn.pipelines.files.storage import checksum
from tdn.trained import trained_network
from tdn.training.build import check_same_data
from tdn.training.class_names import check_same_classes
from tdn.training.forward import predict
from tdn.training.interruption import STOPPED, StopRequest
from tdn.training.precision import Precision, choose_precision
from tdn.training.processes.distributed import Processes, device_name, open_processes
from tdn.training.reporting.console import shows_bar
from tdn.training.saving.run_folder import make_folder
from tdn.training.state import versions

if TYPE_CHECKING:
    from tdn.pipelines.loader import Loader

_log = logging.getLogger(__name__)

_NO_MATTER = {"num_threads", "prefetch", "memory_limit", "max_bad_share", "train_list"}
"""Keys of ``data`` that change no score."""


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
        SystemExit: Status 75: SIGTERM, SIGUSR2 or Ctrl-C; called again, it goes on.
    """
    config = resolve_config(config)
    began = time.monotonic()
    with ExitStack() as stack:
        processes = stack.enter_context(open_processes(config.training))
        stop = stack.enter_context(StopRequest(processes, config.training.stop_timeout))
        with processes.failing_together():
            # What is told soonest comes first, and the folder last: a mistake leaves none.
            precision = choose_precision(config.training.precision, processes.device)
            model, report = trained_network(config.model, checkpoint, raw=raw)
            place = {"rank": processes.rank, "world_size": processes.world_size}
            loader = tdn.create_loader(config, "test", **place)
            stack.enter_context(closing(loader))
            check_same_classes(
                "data.validation_list", loader.classes, str(checkpoint), report.classes
            )
            output = make_folder(config.output)
            model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        check_same_data(processes, validation_list=loader)
        partial, former = _resumed(config, checkpoint, raw, loader, output, precision, processes)
        bar = "evaluating" if shows_bar(config, processes.is_main) else None
        stop.defer()
        with processes.failing_together():
            mine = score(model, loader, precision, processes.device, bar, partial, stop)
        if processes.any(stop.asked):
            with processes.failing_together():
                partial.write(mine)
            if processes.is_main:
                print(
                    f"stopped on request; what was scored is kept in {output}: the same command "
                    "goes on",
                    flush=True,
                )
            raise SystemExit(STOPPED)
        parts = [part for part in (former, *processes.gather_to_main(mine)) if part is not None]
        metrics = None
        with processes.failing_together():
            if processes.is_main:
                scores = _whole_videos(parts, loader, config)
                about = _about(config, checkpoint, precision, processes)
                about["averaged_weights"] = report.averaged
                names = loader.classes or report.classes
                metrics = save_results(scores, names, about, loader.listed, output)
                partial.remove()
                print(in_words(metrics, output, time.monotonic() - began), flush=True)
        result: dict[str, Any] = processes.from_main(metrics)
        return result


def score(
    model: nn.Module,
    loader: Loader,
    precision: Precision,
    device: torch.device,
    bar: str | None,
    partial: PartialScores,
    stop: StopRequest,
) -> ScoredViews | None:
    """The scores of this process's batches.

    Args:
        model: On the device; put into evaluation mode.
        loader: Test clips.
        precision: What the network computes in.
        device: Where.
        bar: What to call a progress bar; None for no bar.
        partial: Gets the scores now and then.
        stop: Ends it after a batch.

    Returns:
        The scores; None if there are none, as with more processes than batches.
    """
    collector, parts = Collector(), []
    for batch, logits in predict(model, loader, precision, device, bar):
        collector.add(loader.batch_number(batch), batch, logits)
        if partial.is_due():
            parts.append(collector.take())
            partial.write(parts[-1])
        if stop.asked:
            break
    parts.append(collector.take())
    found = [part for part in parts if part is not None]
    return ScoredViews.joined(found) if found else None


def _resumed(
    config: Config,
    checkpoint: str | Path,
    raw: bool,
    loader: Loader,
    output: Path,
    precision: Precision,
    processes: Processes,
) -> tuple[PartialScores, ScoredViews | None]:
    """Where scores are kept meanwhile; and on the main process what an earlier try has left, whose
    batches the loader then does without. All must call it."""
    key, former = None, None
    with processes.failing_together():
        if processes.is_main:
            tree = config_to_dict(config)
            parts = [tree[name] for name in ("seed", "model", "evaluation")]
            parts.append({k: v for k, v in tree["data"].items() if k not in _NO_MATTER})
            parts += [raw, precision.name, processes.device.type]
            parts += [loader.fingerprint(), checksum(str(checkpoint))]
            key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
            former = PartialScores(output, key, 0).read()
    partial = PartialScores(output, processes.from_main(key), processes.rank)
    done = processes.from_main(None if former is None else former.batches)
    if done is not None:
        scored = len(set(done.tolist()))
        _log.info("%s: %d of %d batches were scored before", output, scored, loader.batches)
        loader.leave_out(done)
    return partial, former


def _whole_videos(parts: list[ScoredViews], loader: Loader, config: Config) -> Scores:
    """The scores of the videos of which every view was scored.

    Raises:
        UserError: They are too few; each process has counted only its own losses.
    """
    videos, share = loader.videos, config.data.max_bad_share
    scores = None
    if parts:
        found = ScoredViews.joined(parts)
        columns = found.indices, found.labels, found.views, found.logits
        scores = Scores.of_views(*columns, loader.views_per_video, loader.fingerprint())
    lost = videos - (0 if scores is None else len(scores.indices))
    if scores is None or lost == videos or lost > share * videos:
        raise UserError(
            f"{lost} of {videos} videos cannot be decoded, see above; check the storage, or "
            f"raise data.max_bad_share ({share})"
        )
    return scores


def _about(
    config: Config, checkpoint: str | Path, precision: Precision, processes: Processes
) -> dict[str, Any]:
    """What is tested, and with what."""
    return {
        "clips": config.evaluation.clips,
        "crops": config.evaluation.crops,
        "checkpoint": str(Path(checkpoint).absolute()),
        "validation_list": str(Path(config.data.validation_list).absolute()),
        "model": config.model.name,
        "num_segments": config.model.num_segments,
        "precision": precision.name,
        "device": device_name(processes.device),
        "world_size": processes.world_size,
        "versions": versions(),
    }
