"""Who trains: the released code's network, plain and made as fast as PyTorch makes it, and ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import tdn
from benchmarks.resident import BareStep
from tdn.checkpoint import export_upstream
from tdn.config import OptimizerConfig
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.models import BACKBONES
from tdn.resnet import Bottleneck
from tdn.training.precision import choose_precision
from tests.tdn.literal_tdn import LiteralTDN

CLASSES = 174
OPTIMIZER = OptimizerConfig(lr=0.01, weight_decay=5e-4)
"""SGD as published for Something-Something V2."""


@dataclass(frozen=True)
class Size:
    """What a step takes."""

    model: str
    """tdn_*."""
    segments: int
    pixels: int
    clips: int

    def __str__(self) -> str:
        return f"{self.model}, {self.segments} segments, {self.pixels} pixels, {self.clips} clips"


@dataclass(frozen=True)
class Peer:
    """A way to train."""

    name: str
    ours: bool = False
    """Else the released code's order of arithmetic (``tests.tdn.literal_tdn``), from a batch that
    is normalised already."""
    precision: str = "bf16"
    channels_last: bool = False
    compile: str | None = None
    """The mode of torch.compile."""

    def without_gpu(self) -> Peer:
        """The same on a CPU, which computes in fp32."""
        return replace(self, precision="fp32")


PLAIN = Peer("released code", precision="fp32")
TF32 = Peer("released code, TF32", precision="tf32")
AMP = Peer("released code, AMP")
COMPILED = Peer(
    "released code, AMP, channels_last, torch.compile", channels_last=True, compile="default"
)
OURS = Peer("ours", ours=True, channels_last=True)
OURS_COMPILED = replace(OURS, name="ours, torch.compile", compile="default")
OURS_GRAPHS = replace(OURS, name="ours, CUDA graphs", compile="reduce-overhead")
ON_GPU = (PLAIN, TF32, AMP, COMPILED, OURS, OURS_COMPILED, OURS_GRAPHS)
CHANNELS_LAST = replace(PLAIN, name="released code, channels_last", channels_last=True)
ON_CPU = (PLAIN, CHANNELS_LAST, OURS.without_gpu())
COMPILED_ON_CPU = (
    replace(COMPILED.without_gpu(), name="released code, channels_last, torch.compile"),
    OURS_COMPILED.without_gpu(),
)
"""Take minutes to compile."""


def make_step(peer: Peer, size: Size, device: torch.device) -> BareStep:
    """A peer's training step, from the same weights and on the same clips for all peers."""
    torch.manual_seed(0)
    network: nn.Module = tdn.create_model(
        size.model, num_segments=size.segments, num_classes=CLASSES, dropout=0.0
    )
    clips = random_clips(size, device)
    if not peer.ours:
        network, clips = literal_twin(network, size), normalised(clips)
    network.to(device).train()
    if peer.channels_last:
        # The released code views its batch as frames; from the first conv on features follow suit.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labels = torch.arange(size.clips, device=device) % CLASSES
    called = network
    if peer.compile:
        called = torch.compile(network, mode=peer.compile, dynamic=False)  # type: ignore[assignment]
    precision = choose_precision(peer.precision, device)
    return BareStep(called, OPTIMIZER, precision, clips, labels)


def take_turn(peer: Peer, device: torch.device) -> None:
    """Set what belongs to a peer and yet to the whole program."""
    choose_precision(peer.precision, device)


def random_clips(size: Size, device: torch.device) -> Tensor:
    """Noise, uint8 (N, T, 5, H, W, 3)."""
    shape = size.clips, size.segments, 5, size.pixels, size.pixels, 3
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)


def literal_twin(model: nn.Module, size: Size) -> nn.Module:
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
