"""How much memory a training step takes, known without a GPU and without running it."""

from __future__ import annotations

import torch
from torch import Tensor

from tdn.kernels.short_term_stem import FRAMES
from tdn.network import Network


def kept_bytes(network: Network, height: int, width: int) -> int:
    """What a forward pass of one clip keeps for the backward pass, in fp32.

    The network's weights are not counted. Where kernels keep less than eager PyTorch, this is more
    than is needed.

    Args:
        network: made on torch's meta device, which computes shapes and nothing else.
        height: of the frames, pixels.
        width: of the frames, pixels.

    Returns:
        Bytes.
    """
    clip = torch.empty(
        (1, network.num_segments, FRAMES, height, width, 3), dtype=torch.uint8, device="meta"
    )
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            kept.setdefault(storage, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.train()(clip)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
