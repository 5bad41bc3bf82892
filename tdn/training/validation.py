"""Measuring the network on the validation list while it is trained."""

from __future__ import annotations

import math
from itertools import islice

from torch.nn import functional as F

from tdn.config import Config
from tdn.training.build import Parts
from tdn.training.extras.precise_bn import estimate_statistics
from tdn.training.forward import predict
from tdn.training.interruption import StopRequest
from tdn.training.lost_videos import LostVideos
from tdn.training.metrics import Summary, Tally
from tdn.training.processes.distributed import Processes
from tdn.training.processes.whereabouts import COMMUNICATION, VALIDATING, NotedBatches
from tdn.training.reporting.console import shows_bar


def validate(
    config: Config, parts: Parts, processes: Processes, stop: StopRequest, epoch: int
) -> Summary | None:
    """Measure the network; all processes must call it.

    Args:
        config: ``training.precise_bn`` is read.
        parts: Network and loader.
        processes: Those that validate together.
        stop: Ends the validation when asked for.
        epoch: The current one, from 0.

    Returns:
        The metrics over the whole list; None if asked to stop meanwhile.

    Raises:
        UserError: Too many videos cannot be decoded.
    """
    model, device = parts.validated, processes.device
    if config.training.precise_bn and not processes.any(stop.asked):
        _estimate_statistics(config, parts, processes, epoch)
    note = processes.whereabouts.note
    note(COMMUNICATION)
    processes.take_buffers_from_main(model)
    tally = Tally(device)
    bar = "validating" if shows_bar(config, processes.is_main) else None
    batches = NotedBatches(parts.validation_loader, processes.whereabouts, VALIDATING)
    for batch, logits in predict(model, batches, parts.precision, device, bar):
        labels = batch.labels.to(device, non_blocking=True)
        tally.add(F.cross_entropy(logits, labels), logits, labels)
        if stop.asked:
            break
    note(COMMUNICATION)
    if processes.any(stop.asked):
        return None
    share = config.data.max_bad_share
    error = LostVideos("data.validation_list", parts.validation_loader, share, processes).exchange()
    if error is not None:
        raise processes.failure(error)
    return tally.read(processes)


def _estimate_statistics(config: Config, parts: Parts, processes: Processes, epoch: int) -> None:
    """Take the batch norms' statistics from the first clips of the epoch that comes next.

    So they are the same ones in a resumed run, and other ones each time.
    """
    together = config.data.batch_size * processes.world_size
    wanted = math.ceil(config.training.precise_bn / together)
    parts.train_loader.set_epoch(epoch + 1)
    clips = islice(parts.train_loader, wanted)
    batches = NotedBatches(clips, processes.whereabouts, VALIDATING)
    estimate_statistics(parts.validated, batches, parts.precision, processes)
