"""What a training takes on more processes than are at hand: a model of a data-parallel step.

A step is the processes' own work, of which the slowest of them counts, and what of the averaging
of gradients does not hide behind the backward pass:

    step(1)    = alone
    step(N)    = work + late(N) + exposed(N)
    late(N)    = spread * E[largest of N standard normal values]
    exposed(N) = max(averaging(N) - backward, averaging of the last bucket)

Gradients are averaged by a ring within the node, then by all its processes at once between the
nodes, each with its share, as NCCL does; every bucket waits for the latency of a ring within and a
tree between the nodes:

    averaging = 2 (g - 1)/g * G / node_bandwidth + 2 (n - 1)/n * G / link_bandwidth
                + buckets * (2 (g - 1) * node_latency + 2 ceil(log2 n) * link_latency)

for G gradient bytes on n nodes of g processes. Weak scaling keeps the clips of a process, strong
scaling those of a step in all: the work is then taken to shrink with them, which flatters small
batches. What it leaves out: congestion of the network by others, and everything that is not a step
(validation, checkpoints, restarts).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from statistics import NormalDist

BUCKET = 25 << 20
"""Bytes of gradients that DistributedDataParallel averages at a time."""


@dataclass(frozen=True)
class Inputs:
    """All that the projection knows. Times in seconds, bandwidths in bytes/s."""

    alone: float
    """A step of one process while the others of its node rest."""
    work: float
    """A step of a process that waits for nobody, all processes of its node at work."""
    backward: float
    """The backward pass in it, behind which the averaging can hide."""
    spread: float
    """Standard deviation of a process's work from step to step."""
    clips: float
    """Of a process and step."""
    step_clips: int
    """Of all processes in a step, for strong scaling."""
    gradient_bytes: float
    """That a process has to average."""
    node_processes: int
    """Processes, that is GPUs, of a node."""
    node_bandwidth: float
    """Of a process to its neighbours in the node."""
    node_latency: float
    """Of a message in the node."""
    link_bandwidth: float
    """Of a node to the others, all its adapters together."""
    link_latency: float
    """Of a message between nodes."""
    epoch_clips: int
    """Of an epoch."""
    clip_bytes: float
    """That the storage gives for a clip."""
    clip_cpu: float
    """CPU time to decode and resize a clip."""


@dataclass(frozen=True)
class Projection:
    """A training on a number of processes. Times in seconds."""

    processes: int
    nodes: int
    step: float
    averaging: float
    """Of the gradients, hidden or not."""
    exposed: float
    """What of it the step waits for."""
    late: float
    """What the step waits for its slowest process."""
    efficiency: float
    """Clips a second of a process, against one that is alone."""
    clips_per_s: float
    """Of all processes: what the storage must give."""
    storage: float
    """Bytes a second, of all."""
    cores: float
    """Of a node, for decoding on CPUs."""
    epoch: float


def project(given: Inputs, processes: int) -> Projection:
    """A step on so many processes, on as few nodes as they fit."""
    local = min(processes, given.node_processes)
    nodes = math.ceil(processes / local)
    averaging = averaging_time(given, nodes, local, given.gradient_bytes)
    last = averaging_time(given, nodes, local, min(BUCKET, given.gradient_bytes))
    exposed = max(averaging - given.backward, last)
    late = given.spread * largest_normal(processes)
    step = given.alone if processes == 1 else given.work + late + exposed
    clips = processes * given.clips / step
    return Projection(
        processes=processes,
        nodes=nodes,
        step=step,
        averaging=averaging,
        exposed=exposed,
        late=late,
        efficiency=given.alone / step,
        clips_per_s=clips,
        storage=clips * given.clip_bytes,
        cores=clips / nodes * given.clip_cpu,
        epoch=given.epoch_clips / clips,
    )


def project_strong(given: Inputs, processes: int) -> Projection | None:
    """The same with ``step_clips`` divided among the processes; None for less than a clip each."""
    clips = given.step_clips / processes
    if clips < 1:
        return None
    share = clips / given.clips
    less = dataclasses.replace(
        given,
        clips=clips,
        alone=given.alone * share,
        work=given.work * share,
        backward=given.backward * share,
        spread=given.spread * share,
    )
    return project(less, processes)


def averaging_time(given: Inputs, nodes: int, local: int, size: float) -> float:
    """Seconds to average so many bytes on nodes of so many processes, one bucket after another."""
    buckets = math.ceil(size / BUCKET)
    within = 2 * (local - 1) / local * size / given.node_bandwidth
    between = 2 * (nodes - 1) / nodes * size / given.link_bandwidth
    hops = 2 * (local - 1) * given.node_latency
    hops += 2 * math.ceil(math.log2(nodes)) * given.link_latency
    return within + between + buckets * hops


def largest_normal(count: int) -> float:
    """Expected largest of so many standard normal values, by Blom's approximation."""
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
