"""The measured operations: their parameters, random inputs, ideal bytes, and who can do them.

An operation is a module with its parameters, for features of one size and type. Its functions are
the ways to do it:

    reference   the product's, which TDN_KERNELS says the backend of
    ours        the same but for the gated mix, whose kernel takes statistics
    rewritten   ``benchmarks.operations.rewritten``, for torch.compile
    literal     the arithmetic of the released code, word by word

Ideal bytes are what an operation has to move: forward, every input and parameter is read once and
every output written once; backward, the gradient of the output and what it takes of the inputs
and parameters are read once, and the gradients written once.

A block cannot be one pass over its input, for every batch norm waits for the statistics of the
whole batch, and convs end where cuDNN's do. Its ideal is the sum over such stages, each of which
reads its inputs once and writes its outputs once, with statistics for free where their input is
written. With X the bytes of the features, r those of the C/16 inner channels and p those of r at
half resolution, for the reduce conv, the differences and pooled differences, the half conv, the
full conv, the branch sum, and the gated mix:

    forward     (X + r) + (r + 2r + 2p) + 4p + 4r + (4r + 2p + 2r) + (X + 2r + X)  = about 4.1 X
    backward    (3X + r) + (r + 4r + 2p + r) + 6p + 6r + (2r + 2r + 2p + 2r + 2p) + (3X + 4r)
                                                                                   = about 7.6 X

where the backward pass of the reduce conv adds to the features' gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.harness.literal_tdn import Excitation, Shift
from benchmarks.operations import rewritten
from tdn.kernels import gated_mix as gate
from tdn.kernels.fusion import fusion
from tdn.kernels.norm import Norm
from tdn.kernels.short_term_stem import FRAMES, short_term_stem
from tdn.long_term import REDUCTION, LongTermTDM
from tdn.long_term_kernels import mix_over_time
from tdn.temporal_conv import TemporalConv

Function = Callable[..., Tensor | tuple[Tensor, ...]]
Inputs = dict[str, Tensor]
LAYOUTS = (torch.contiguous_format, torch.channels_last)
MODES = ("forward", "backward", "both")


@dataclass(frozen=True)
class Size:
    """Size of an operation's input."""

    channels: int
    height: int
    """Also the width."""
    clips: int
    segments: int = 8

    def __str__(self) -> str:
        return f"{self.channels}@{self.height}"

    @property
    def megabytes(self) -> float:
        """Of features in bfloat16."""
        values = self.clips * self.segments * self.channels * self.height**2
        return values * torch.bfloat16.itemsize / 1e6


class Operation(nn.Module, ABC):
    """An operation on features of one size and type.

    Args:
        size: of the features.
        dtype: of the features and results; parameters are float32.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[str, ...]] = MODES
    differentiable: ClassVar[tuple[str, ...]] = ("x",)
    """Inputs that gradients are asked for; none if an operation only runs forward."""
    layouts: ClassVar[tuple[torch.memory_format, ...]] = LAYOUTS
    """Those of its input."""
    graphs: ClassVar[bool] = False
    """Whether small sizes are also measured as CUDA graphs."""

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.size = size
        self.dtype = dtype

    def leave_the_start(self) -> None:
        """Replace zeros and ones of parameters and statistics, which would hide mistakes."""
        for name, tensor in self.state_dict().items():
            if name.endswith(("norm.weight", "running_var")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("norm.bias", "running_mean")):
                tensor.normal_(0, 0.1)
            elif tensor.dim() == 3:  # the weight of a temporal conv
                tensor.add_(torch.randn_like(tensor), alpha=0.2)

    @abstractmethod
    def functions(self) -> dict[str, Function]:
        """Ways to do it, by kind; each takes the inputs."""

    def inputs(self, generator: torch.Generator) -> Inputs:
        """Random inputs by name, on the generator's device."""
        return {"x": self.maps(self.size.channels, self.size.height, generator).relu()}

    def maps(self, channels: int, height: int, generator: torch.Generator) -> Tensor:
        """Normal maps (N*T, channels, height, height): in any type the values of bfloat16."""
        shape = (self.size.clips * self.size.segments, channels, height, height)
        maps = torch.randn(shape, generator=generator, device=generator.device)
        return maps.bfloat16().to(self.dtype)

    def ideal_bytes(self, inputs: Inputs) -> dict[str, int]:
        """Ideal bytes by mode."""
        parameters = self.parameter_bytes()
        gradients = sum(inputs[name].nbytes for name in self.differentiable)
        forward = sum(v.nbytes for v in inputs.values()) + parameters + inputs["x"].nbytes
        return with_both(forward, forward + gradients + parameters)

    def parameter_bytes(self) -> int:
        """Bytes of all parameters."""
        return sum(parameter.nbytes for parameter in self.parameters())


class Stem(Operation):
    """Normalised centre frames and pooled differences of uint8 clips."""

    name = "stem"
    modes = ("forward",)
    differentiable = ()
    layouts = (torch.channels_last,)

    def functions(self) -> dict[str, Function]:
        """On clips."""

        def stem(clips: Tensor) -> tuple[Tensor, Tensor]:
            return short_term_stem(clips, self.dtype)

        return {
            "reference": stem,
            "ours": stem,
            "rewritten": lambda clips: rewritten.stem(clips, self.dtype),
        }

    def inputs(self, generator: torch.Generator) -> Inputs:
        """Frames of noise."""
        size, device = self.size, generator.device
        shape = (size.clips, size.segments, FRAMES, size.height, size.height, 3)
        clips = torch.randint(0, 256, shape, generator=generator, device=device, dtype=torch.uint8)
        return {"clips": clips}

    def ideal_bytes(self, inputs: Inputs) -> dict[str, int]:
        """Frames in; out the centre frames and, half as high and wide, four differences."""
        images, height = self.size.clips * self.size.segments, self.size.height
        values = images * 3 * (height**2 + (FRAMES - 1) * (height // 2) ** 2)
        return {"forward": inputs["clips"].nbytes + values * self.dtype.itemsize}


class BlockTraining(Operation):
    """L-TDM and temporal conv, normalising by batch statistics."""

    name = "block-training"
    graphs = True

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        super().__init__(size, dtype)
        self.long_term = LongTermTDM(size.channels, size.segments)
        self.temporal_conv = TemporalConv(size.channels, size.segments)

    def functions(self) -> dict[str, Function]:
        """On x."""
        long_term, mix = self.long_term, self.temporal_conv

        def block(x: Tensor) -> Tensor:
            return mix_over_time(long_term, mix, x)

        return {
            "reference": block,
            "ours": block,
            "rewritten": lambda x: rewritten.block(long_term, mix.weight, x),
            "literal": nn.Sequential(literal_excitation(long_term), literal_shift(mix)),
        }

    def ideal_bytes(self, inputs: Inputs) -> dict[str, int]:
        """The sum over stages, as above."""
        x, size, parameters = inputs["x"].nbytes, self.size, self.parameter_bytes()
        r = x * max(1, size.channels // REDUCTION) // size.channels
        p = r * (size.height // 2) ** 2 // size.height**2
        forward = 3 * x + 16 * r + 8 * p + parameters
        return with_both(forward, 6 * x + 23 * r + 12 * p + 2 * parameters)


class BlockEvaluation(BlockTraining):
    """L-TDM and temporal conv, normalising by running statistics."""

    name = "block-evaluation"
    modes = ("forward",)
    differentiable = ()

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        super().__init__(size, dtype)
        self.eval()


class GatedMix(Operation):
    """Excitation by inner maps, and temporal conv.

    Our kernel is given the moments of the inner maps and the statistics they imply, as earlier
    passes of the block leave them; what they add to the gradient is part of its backward pass.
    Its peers expand the maps and take the statistics of what they get.
    """

    name = "gated-mix"
    differentiable = ("x", "s")

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        super().__init__(size, dtype)
        inner = max(1, size.channels // REDUCTION)
        self.expand = nn.Conv2d(inner, size.channels, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(size.channels, track_running_stats=False)
        self.temporal_conv = TemporalConv(size.channels, size.segments)

    def functions(self) -> dict[str, Function]:
        """On x, s, two moments and two statistics."""
        return {
            "reference": lambda x, s, *given: gate.reference(x, s, *self._given(*given)),
            "ours": lambda x, s, *given: gate.gated_mix(x, s, *self._given(*given)),
            "rewritten": lambda x, s, *_: rewritten.gated_mix(
                *(x, s, self.expand, self.expand_norm),
                *(self.temporal_conv.weight, self.size.segments),
            ),
        }

    def _given(
        self, s_mean: Tensor, s_covariance: Tensor, z_mean: Tensor, z_variance: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Norm, Tensor, Tensor, int]:
        """What follows x and s."""
        norm = self.expand_norm
        return (
            (s_mean, s_covariance),
            Norm(z_mean, z_variance, norm.weight, norm.bias, norm.eps),
            self.expand.weight,
            self.temporal_conv.weight,
            self.size.segments,
        )

    def inputs(self, generator: torch.Generator) -> Inputs:
        """Features, inner maps, their moments, and mean and variance of the expanded maps."""
        weight = self.expand.weight.detach().flatten(1).double()
        channels, height = weight.shape[1], self.size.height
        s = torch.cat([self.maps(channels, height, generator) for _ in range(2)])
        rows = s.unflatten(0, (2, -1)).transpose(1, 2).flatten(2).double()
        mean = rows.mean(2)
        rows -= mean.unsqueeze(2)
        covariance = rows @ rows.mT / rows.shape[2]
        return super().inputs(generator) | {
            "s": s,
            "s_mean": mean.float(),
            "s_covariance": covariance.float(),
            "z_mean": (mean @ weight.T).float(),
            "z_variance": (weight @ covariance * weight).sum(2).float(),
        }


class Mixing(Operation):
    """Temporal conv."""

    name = "temporal-conv"

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        super().__init__(size, dtype)
        self.temporal_conv = TemporalConv(size.channels, size.segments)

    def functions(self) -> dict[str, Function]:
        """On x."""
        mix = self.temporal_conv
        return {
            "reference": mix,
            "ours": mix,
            "rewritten": lambda x: rewritten.temporal_conv(x, mix.weight, mix.num_segments),
            "literal": literal_shift(mix),
        }


class Fusion(Operation):
    """Weighted sum of features and of short-term features of half their height and width."""

    name = "fusion"
    differentiable = ("x", "differences")

    def functions(self) -> dict[str, Function]:
        """On x and differences."""

        def fuse(x: Tensor, differences: Tensor) -> Tensor:
            return fusion(x, differences, 0.5, 0.5)

        return {
            "reference": fuse,
            "ours": fuse,
            "rewritten": lambda x, differences: rewritten.fusion(x, differences, 0.5, 0.5),
        }

    def inputs(self, generator: torch.Generator) -> Inputs:
        """Features of both resolutions."""
        differences = self.maps(self.size.channels, self.size.height // 2, generator)
        return super().inputs(generator) | {"differences": differences.relu()}

    def ideal_bytes(self, inputs: Inputs) -> dict[str, int]:
        """The gradients need no input."""
        x, differences = inputs["x"].nbytes, inputs["differences"].nbytes
        return with_both(x + differences + x, x + x + differences)


OPERATIONS = (Stem, BlockTraining, GatedMix, BlockEvaluation, Fusion, Mixing)


def literal_excitation(module: LongTermTDM) -> nn.Module:
    """L-TDM as in the released code, with the parameters of a module."""
    names = {
        "conv1": "reduce",
        "bn1": "reduce_norm",
        "conv2": "smooth",
        "conv3": "expand",
        "bn3": "expand_norm",
        "conv3_smallscale2": "half_conv",
        "bn3_smallscale2": "half_norm",
        "conv3_smallscale4": "full_conv",
        "bn3_smallscale4": "full_norm",
    }
    literal = Excitation(module.reduce.in_channels, module.num_segments)
    literal.to(module.reduce.weight).train(module.training)
    for name, twin in names.items():
        ours, theirs = getattr(module, twin), getattr(literal, name)
        theirs.load_state_dict(ours.state_dict())
        for parameter, tensor in ours.named_parameters():
            setattr(theirs, parameter, tensor)
    return literal


def literal_shift(module: TemporalConv) -> nn.Module:
    """The temporal conv as in the released code, with the weight of a module."""
    literal = Shift(len(module.weight), module.num_segments)
    literal.conv.weight = module.weight
    return literal


def with_both(forward: int, backward: int) -> dict[str, int]:
    """Bytes by mode."""
    return {"forward": forward, "backward": backward, "both": forward + backward}
