"""Whether the nodes of a run are fit to train together: examined, compared, their links measured.

    python launch/preflight.py train --config my.yaml --output runs/mine

on every node, with ``torchrun``'s variables (PET_NNODES, PET_RDZV_ENDPOINT, ...) for several, or
as ``torchrun ... launch/preflight.py train ...``. The words are those of ``tdn``; without any it
looks at the machines alone. launch/node.sh runs it before training unless TDN_PREFLIGHT=off.

One process per node examines its machine: driver, GPUs (memory errors, Xids in the kernel's log,
clocks held back, PCIe and NVLink below what they can, other people's processes), NVDEC, nvJPEG and
DALI, limits, shared memory, room, and what the configuration asks for. The first node compares all.
Then a process per GPU (or of CPU cores) measures its device, exchanges buffers with its neighbours
on other nodes, in six rounds at most, and sums gradients with all: what is slow is named.

What stops the job (exit status 1) is what would make training fail, wait for ever, or compute
something else than was asked for: a node that does not come or answer, a check that fails
(``tdn doctor`` explains it), another version of code, configuration, lists, torch, NCCL's settings
or DALI on some node, a run folder that not all see, links that do not work. What only costs time is
a warning: slow devices and links, held-back clocks, old but repaired errors, other drivers or
GPUs, clocks that differ. 0: training can start; 2: a mistake in the words or variables, which no
other start mends.

It ends within two minutes, of which nodes have 40 seconds to come (TDN_PREFLIGHT_WAIT=SECONDS gives
them more, where a scheduler starts one after the other); usually it takes seconds. The run folder
gets preflight.json, whose fields tdn/preflight/report.py describes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# What its libraries have to say of lost nodes is told in a line; this must be set before torch.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")

if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__, end="")
        sys.exit()
    from tdn.preflight.command import main

    sys.exit(main(sys.argv[1:]))
