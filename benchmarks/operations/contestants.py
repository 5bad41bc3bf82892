"""Who does the operations: ours and its peers, each set up to run forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.operations.catalogue import Operation, Size
from tdn.kernels import backend

WARM_UP = 3
"""Runs before a capture: they compile, and choose among a library's algorithms."""
CACHES = 4
"""Times the L2 cache that samples fill."""
MOST_SAMPLES = 64


@dataclass(frozen=True)
class Peer:
    """A way to run an operation."""

    name: str
    kind: str = "reference"
    """Of the operation's functions."""
    dtype: torch.dtype = torch.bfloat16
    """Of features; autocast is on for bfloat16."""
    layout: torch.memory_format = torch.channels_last
    backend: str = "reference"
    """TDN_KERNELS."""
    compiled: bool = False
    """By torch.compile."""
    graph: bool = False
    """Replayed as a CUDA graph."""


EAGER = Peer("eager AMP channels_last")
COMPILED = Peer("torch.compile", compiled=True)
REWRITTEN = Peer("torch.compile, rewritten", kind="rewritten", compiled=True)
OURS = Peer("ours", kind="ours", backend="triton")
PEERS = (
    Peer("eager fp32", dtype=torch.float32, layout=torch.contiguous_format),
    Peer("eager AMP NCHW", layout=torch.contiguous_format),
    EAGER,
    Peer("literal AMP", kind="literal", layout=torch.contiguous_format),
    COMPILED,
    REWRITTEN,
    OURS,
    replace(OURS, name="ours + torch.compile", compiled=True),
)
GRAPH = ", CUDA graph"
"""Ends the names of graphs."""
GRAPHS = tuple(
    replace(peer, name=peer.name + GRAPH, graph=True) for peer in (EAGER, COMPILED, REWRITTEN, OURS)
)


def plain_name(peer: Peer) -> str:
    """Name of the peer that a graph is captured from, or of the peer itself."""
    return peer.name.removesuffix(GRAPH)


@dataclass
class Sample:
    """One set of random inputs, and the gradient of its result."""

    inputs: dict[str, Tensor]
    grad: Tensor | None

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        grad = 0 if self.grad is None else self.grad.nbytes
        return grad + sum(v.nbytes for v in self.inputs.values())


def new_operation(
    operation: type[Operation],
    size: Size,
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: str,
) -> Operation:
    """An operation with the same parameters at every call, but for their type and layout."""
    torch.manual_seed(0)
    made = operation(size, dtype)
    made.leave_the_start()
    if dtype == torch.float64:
        made.double()
    return made.to(device, memory_format=layout)  # type: ignore[call-overload]


def new_sample(operation: Operation, layout: torch.memory_format, device: str, seed: int) -> Sample:
    """Random inputs; those of a seed have the same values in all types and layouts."""
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        inputs = operation.inputs(generator)
        grad = None
        if operation.differentiable:
            size = operation.size
            grad = operation.maps(size.channels, size.height, generator).contiguous(
                memory_format=layout
            )
        for name, v in inputs.items():
            if v.dim() == 4:
                inputs[name] = v.contiguous(memory_format=layout)
    for name in operation.differentiable:
        inputs[name].requires_grad_()
    return Sample(inputs, grad)


def new_samples(operation: Operation, layout: torch.memory_format, device: str) -> list[Sample]:
    """Samples enough to fill the cache several times, so that a run finds none of its own there."""
    first = new_sample(operation, layout, device, seed=0)
    cache = torch.cuda.get_device_properties().L2_cache_size if device == "cuda" else 0
    count = min(MOST_SAMPLES, max(2, -(-CACHES * cache // first.nbytes)))
    others = (new_sample(operation, layout, device, seed) for seed in range(1, count))
    return [first, *others]


class Contestant:
    """A peer, set up for an operation and samples of it.

    Args:
        peer: how to run it.
        operation: in the peer's type and layout.
        samples: runs take turns with them.
    """

    iterations = 1
    """Samples that a run takes."""

    def __init__(self, peer: Peer, operation: Operation, samples: list[Sample]) -> None:
        self.peer = peer
        self.operation = operation
        self.samples = samples
        self.device = next(iter(samples[0].inputs.values())).device.type
        self._function = operation.functions()[peer.kind]
        if peer.compiled:
            self._function = torch.compile(self._function, fullgraph=True, dynamic=False)

    def forward(self, index: int) -> tuple[Tensor, ...]:
        """Results of a sample, with what the backward pass needs if there is one."""
        inputs = self.samples[index % len(self.samples)].inputs.values()
        amp = torch.autocast(self.device, torch.bfloat16, enabled=self.peer.dtype == torch.bfloat16)
        differentiable = bool(self.operation.differentiable)
        with backend.using(self.peer.backend), amp, torch.set_grad_enabled(differentiable):
            found = self._function(*inputs)
        return found if isinstance(found, tuple) else (found,)

    def backward(self, index: int, results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Gradients of a sample's differentiable inputs and of all parameters."""
        sample = self.samples[index % len(self.samples)]
        leaves = [sample.inputs[name] for name in self.operation.differentiable]
        with backend.using(self.peer.backend):
            return torch.autograd.grad(
                results, (*leaves, *self.operation.parameters()), sample.grad
            )

    def start(self, mode: str, runs: int) -> Callable[[], None]:
        """Get ready for some runs of a mode; what that returns does them.

        Before backward passes, that is the forward passes.
        """
        if mode != "backward":
            return lambda: self._iterate(mode, range(runs))
        forwards = [self.forward(index) for index in range(runs)]

        def work() -> None:
            for index in range(runs):
                self.backward(index, forwards[index])
                forwards[index] = ()  # frees what it kept, as a training step does

        return work

    def _iterate(self, mode: str, indices: range) -> None:
        for index in indices:
            results = self.forward(index)
            if mode == "both":
                self.backward(index, results)

    def results(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Results and gradients of the first sample."""
        results = self.forward(0)
        return results, self.backward(0, results) if self.operation.differentiable else ()


class GraphContestant(Contestant):
    """A contestant whose runs are replays of a CUDA graph, which goes through all samples.

    Args:
        contestant: what is captured: forward and, if it has one, backward.
        peer: what it is called then.
    """

    def __init__(self, contestant: Contestant, peer: Peer) -> None:
        self.peer = peer
        self.operation = contestant.operation
        self.samples = contestant.samples
        self.device = contestant.device
        self.iterations = len(self.samples)
        mode = self.operation.modes[-1]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                contestant.results()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._results = contestant.results()
            contestant._iterate(mode, range(1, self.iterations))
        self._graphs = {mode: graph}

    def start(self, mode: str, runs: int) -> Callable[[], None]:
        """Nothing to get ready."""
        graph = self._graphs[mode]

        def work() -> None:
            for _ in range(runs):
                graph.replay()

        return work

    def results(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Results and gradients of the first sample, from a replay."""
        for graph in self._graphs.values():
            graph.replay()
        return self._results
