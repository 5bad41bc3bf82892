"""Who trains: the released code's network, plain and made as fast as PyTorch makes it, and ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import tdn
from benchmarks.harness.literal_tdn import LiteralTDN
from benchmarks.harness.resident_step import BareStep
from tdn.checkpoint import export_upstream
from tdn.config import OptimizerConfig
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.models import BACKBONES
from tdn.network import Network
from tdn.resnet import Bottleneck
from tdn.training.precision import Precision, choose_precision

CLASSES = 174
OPTIMIZER = OptimizerConfig(lr=1e-3, weight_decay=5e-4)
"""SGD as published for Something-Something V2, in smaller steps: a batch that is seen again and
again is learned by heart with the published ones, and then all losses are equal."""
DEFAULTS = "fp32, torch's defaults"
"""The precision of who sets nothing: on a GPU convs round to TF32, matrix products do not."""


@dataclass(frozen=True)
class StepSize:
    """What a step takes."""

    model: str
    """tdn_*."""
    segments: int
    pixels: int
    clips: int

    def __str__(self) -> str:
        return f"{self.model}, {self.segments} segments, {self.pixels} pixels, {self.clips} clips"


PUBLISHED = (
    StepSize("tdn_resnet50", 8, 224, 16),
    StepSize("tdn_resnet50", 16, 224, 8),
    StepSize("tdn_resnet101", 8, 224, 16),
)
"""Steps of the published networks, for a GPU."""


@dataclass(frozen=True)
class StepPeer:
    """A way to train."""

    name: str
    ours: bool = False
    """Else the released code's order of arithmetic (``harness.literal_tdn``), from a batch that
    is normalised already."""
    precision: str = "bf16"
    """As ``training.precision``, or ``DEFAULTS``."""
    channels_last: bool = False
    compile: str | None = None
    """The mode of torch.compile."""

    @property
    def graphs(self) -> bool:
        """Whether its steps are replayed as CUDA graphs."""
        return self.compile == "reduce-overhead"

    def without_gpu(self) -> StepPeer:
        """The same on a CPU, which computes in fp32."""
        return replace(self, precision="fp32")


STRICT = StepPeer("released code, strict fp32", precision="fp32")
"""Of whose losses the others' are judged; nobody trains so on a GPU."""
PLAIN = StepPeer("released code", precision=DEFAULTS)
TF32 = StepPeer("released code, TF32", precision="tf32")
AMP = StepPeer("released code, AMP")
COMPILED = StepPeer(
    "released code, AMP, channels_last, torch.compile", channels_last=True, compile="default"
)
OURS = StepPeer("ours", ours=True, channels_last=True)
OURS_COMPILED = replace(OURS, name="ours, torch.compile", compile="default")
OURS_GRAPHS = replace(OURS, name="ours, CUDA graphs", compile="reduce-overhead")
ON_GPU = (PLAIN, OURS, AMP, TF32)
"""In the order in which they are set up, as long as there is time."""
COMPILED_ON_GPU = (COMPILED, OURS_COMPILED, OURS_GRAPHS)
CHANNELS_LAST = StepPeer("released code, channels_last", precision="fp32", channels_last=True)
ON_CPU = (PLAIN.without_gpu(), OURS.without_gpu(), CHANNELS_LAST)
COMPILED_ON_CPU = (
    replace(COMPILED.without_gpu(), name="released code, channels_last, torch.compile"),
    OURS_COMPILED.without_gpu(),
)
"""Take minutes to compile."""


def make_step(
    peer: StepPeer, size: StepSize, device: torch.device, backwards: bool = False
) -> BareStep:
    """A peer's training step, from the same weights and on the same clips for all peers.

    Args:
        peer: Who trains.
        size: Of the step.
        device: Where.
        backwards: Whether the last clip of the batch comes first: the same losses, whose sums are
            rounded in another order.
    """
    precision = take_turn(peer, device)
    torch.manual_seed(0)
    model = tdn.create_model(
        size.model, num_segments=size.segments, num_classes=CLASSES, dropout=0.0
    )
    network: nn.Module = model
    clips = random_clips(size, device)
    labels = torch.arange(size.clips, device=device) % CLASSES
    if backwards:
        clips, labels = clips.flip(0), labels.flip(0)
    if not peer.ours:
        network, clips = literal_twin(model, size), normalised(clips)
    network.to(device).train()
    if peer.channels_last:
        # The released code views its batch as frames; from the first conv on features follow suit.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    called = network
    if peer.compile:
        called = torch.compile(network, mode=peer.compile, dynamic=False)  # type: ignore[assignment]
    return BareStep(called, OPTIMIZER, precision, clips, labels)


def take_turn(peer: StepPeer, device: torch.device) -> Precision:
    """Set what belongs to a peer and yet to the whole program; gives its arithmetic."""
    torch.backends.cudnn.benchmark = True  # as in training
    defaults = peer.precision == DEFAULTS
    precision = choose_precision("fp32" if defaults else peer.precision, device)
    if defaults:
        torch.backends.cudnn.allow_tf32 = True
    return precision


def random_clips(size: StepSize, device: torch.device) -> Tensor:
    """Noise, uint8 (N, T, 5, H, W, 3)."""
    shape = size.clips, size.segments, 5, size.pixels, size.pixels, 3
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)


def literal_twin(model: Network, size: StepSize) -> nn.Module:
    """The released code's network with the model's weights."""
    backbone = BACKBONES[size.model.partition("_")[2]]
    bottleneck = backbone.block is Bottleneck
    twin = LiteralTDN(backbone.depths, bottleneck, 64, size.segments, CLASSES)
    state = {key.removeprefix("module."): v for key, v in export_upstream(model).items()}
    twin.load_state_dict(
        {key.replace("base_model.fc.", "new_fc."): value for key, value in state.items()}
    )
    return twin


def normalised(clips: Tensor) -> Tensor:
    """The float batch of the released code, (N, T*15, H, W)."""
    mean, std = (torch.tensor(v, device=clips.device) for v in (MEAN, STD))
    return ((clips / 255 - mean) / std).permute(0, 1, 2, 5, 3, 4).flatten(1, 3).contiguous()
