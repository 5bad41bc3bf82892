"""Whether a peer trains the same network: its losses against those of the released code in fp32.

Batch norm makes small differences larger with every step. How large rounding alone makes them is
measured: by the same network in the peer's precision whose sums run in another order, as those of a
batch whose clips stand in another order do, or those of another layout. A peer may differ a few
times as much.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from benchmarks.harness.common import described
from benchmarks.steps.peers import STRICT, StepPeer, StepSize, make_step

STEPS = 4
"""After which losses are compared."""
CLIPS = 4
"""At least, each of a class of its own: one alone is learned by heart in two steps."""
CPU_PIXELS = 64
"""At most, so that a CPU has them in seconds."""
FACTOR = 3.0
"""By how much more than the other order a peer may differ."""
LEAST = 1e-5
"""Bound where the orders hardly differ, as a part of the first loss."""


class LossCheck:
    """The losses of the released code, and how far rounding takes them.

    Args:
        size: Of the steps whose speed is measured; losses may need more clips.
        device: Where.
    """

    def __init__(self, size: StepSize, device: torch.device) -> None:
        self.size = replace(size, clips=max(CLIPS, size.clips))
        if device.type == "cpu":
            self.size = replace(self.size, pixels=min(CPU_PIXELS, size.pixels))
        self._device = device
        self._bounds: dict[str, float] = {}

    @cached_property
    def reference(self) -> list[float]:
        """Losses of the released code in fp32."""
        return self.losses(STRICT)

    def losses(self, peer: StepPeer, backwards: bool = False) -> list[float]:
        """Of a peer's first steps."""
        step = make_step(peer, self.size, self._device, backwards)
        torch.backends.cudnn.benchmark = (
            False  # a search for algorithms takes longer than the steps
        )
        return [float(step()) for _ in range(STEPS)]

    def bound(self, precision: str) -> float:
        """How far losses in a precision may be from the reference's, in any step."""
        if precision not in self._bounds:
            twin = replace(STRICT, precision=precision)
            orders = (
                self.losses(twin, backwards=True),
                self.losses(replace(twin, channels_last=True)),
            )
            furthest = max(
                abs(mine - theirs)
                for losses in orders
                for mine, theirs in zip(losses, self.reference, strict=True)
            )
            self._bounds[precision] = max(FACTOR * furthest, LEAST * self.reference[0])
        return self._bounds[precision]

    def failure(self) -> str | None:
        """Why nobody can be judged; None if the reference has losses."""
        try:
            learned = self.reference[0] - self.reference[-1]
        except Exception as error:  # whatever a GPU has to say
            return f"the reference of the losses failed: {described(error)}"
        return None if learned > 0 else "the reference of the losses learned nothing"

    def problem(self, losses: list[float], precision: str) -> str | None:
        """How losses differ, if they do by more than rounding."""
        most = self.bound(precision)
        learned = self.reference[0] - self.reference[-1]
        if not most < learned:
            return f"losses in {precision} say nothing: rounding makes {most:.4f} of {learned:.4f}"
        for step, (mine, theirs) in enumerate(zip(losses, self.reference, strict=True), start=1):
            if not abs(mine - theirs) <= most:
                return (
                    f"loss {mine:.4f} in step {step}, the reference has {theirs:.4f}, "
                    f"and rounding makes {most:.4f} at most"
                )
        return None
