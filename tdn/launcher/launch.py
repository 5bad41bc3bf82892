"""Launch a node's processes, as ``torch.distributed.run`` does, with our agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import torch.distributed as dist
from torch.distributed.elastic.agent.server import WorkerSpec
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import (
    RendezvousError,
    RendezvousParameters,
    RendezvousTimeoutError,
    registry,
)
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint
from torch.distributed.launcher import LaunchConfig
from torch.distributed.run import config_from_args, parse_args

from tdn.launcher.agent import Agent, EndedError
from tdn.launcher.statuses import FINAL, REQUESTS, shell_status, status_after_request

FAILURE = 1
"""Exit status where the nodes do not meet."""


def main(words: list[str] | None = None) -> int:
    """Run the processes to their end.

    Args:
        words: torchrun's options, then what to run; by default those of this process.

    Returns:
        0 when all are done; 75 stopped on request, 2 a user's mistake, else the status of the
        process that failed first, at the last start: 128 and the signal's number for one that was
        killed. 1 where the nodes do not meet.
    """
    if "LOGLEVEL" not in os.environ:
        logging.disable(logging.ERROR)  # the processes say it, or this does
    config, program, arguments = config_from_args(parse_args(words))
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = config.signals_to_handle
    for number in REQUESTS:
        signal.signal(number, _raise)
    try:
        return _run(config, str(program), arguments)
    except SignalException:  # before there was an agent
        return status_after_request([])
    except (RendezvousError, dist.DistError) as error:
        return _no_meeting(config, error)


def _run(config: LaunchConfig, program: str, arguments: list[str]) -> int:
    meeting = registry.get_rendezvous_handler(_meeting_place(config))
    host, port = _fixed_place(config)
    spec = WorkerSpec(
        role=config.role,
        local_world_size=config.nproc_per_node,
        entrypoint=program,
        args=tuple(arguments),
        rdzv_handler=meeting,
        max_restarts=config.max_restarts,
        monitor_interval=config.monitor_interval,
        master_addr=host,
        master_port=port,
        local_addr=config.local_addr,
        numa_options=config.numa_options,
    )
    assert config.logs_specs is not None  # LaunchConfig fills it in
    assert config.shutdown_timeout is not None
    agent = Agent(spec, config.logs_specs, config.shutdown_timeout)
    asked = False
    try:
        result = agent.run()
    except SignalException:
        asked = True  # a closed meeting would refuse the nodes that are to come back
        return status_after_request(agent.left)
    except EndedError:
        pass
    except (RendezvousError, dist.DistError) as error:
        # The first node may be gone before this one sees that its processes end likewise.
        final = [status for status in agent.left if status in FINAL]
        return _no_meeting(config, error, final[0] if final else agent.status)
    else:
        if result is not None and not result.is_failed():
            return 0
    finally:
        if not asked:
            meeting.shutdown()
    return FAILURE if agent.status is None else shell_status(agent.status)


def _meeting_place(config: LaunchConfig) -> RendezvousParameters:
    return RendezvousParameters(
        backend=config.rdzv_backend,
        endpoint=config.rdzv_endpoint,
        run_id=config.run_id,
        min_nodes=config.min_nodes,
        max_nodes=config.max_nodes,
        local_addr=config.local_addr,
        **config.rdzv_configs,
    )


def _fixed_place(config: LaunchConfig) -> tuple[str | None, int | None]:
    """Where the processes meet, if that is not left to the nodes."""
    if config.rdzv_backend != "static":
        return None, None
    return parse_rendezvous_endpoint(config.rdzv_endpoint, default_port=29500)


def _no_meeting(config: LaunchConfig, error: Exception, failed: int | None = None) -> int:
    """Tell that the nodes do not meet, or do not again."""
    if failed in FINAL:
        return failed
    reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
    if isinstance(error, RendezvousTimeoutError):
        reason = "not enough nodes came"
    print(
        f"node.sh: the nodes do not meet at {config.rdzv_endpoint} ({reason}): the first one has "
        "ended, or cannot be reached; see its messages, then start all of them again",
        file=sys.stderr,
        flush=True,
    )
    return FAILURE if failed is None else shell_status(failed)


def _raise(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's shape
    raise SignalException(f"got {number}", signal.Signals(number))
