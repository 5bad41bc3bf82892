"""The kernels: which are asked for, and whether Triton can make one of them run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, mistake, ok, warn
from tdn.doctor.remedies import install
from tdn.errors import UserError


class Trial(NamedTuple):
    """What came of running a kernel."""

    version: str
    """Triton's."""
    gpu: bool
    """Whether it was compiled for a GPU; else it was interpreted."""
    problem: str = ""
    """Why it failed; else empty."""


def check_choice() -> Iterator[Finding]:
    """Look at what TDN_KERNELS asks for."""
    import torch

    from tdn.kernels.backend import uses_triton

    gpu = torch.cuda.is_available()
    try:
        triton = uses_triton(torch.empty(1, device="cuda" if gpu else "cpu"))
    except UserError as error:
        yield mistake("kernels", error)
    else:
        yield judge_choice(triton, gpu)


def judge_choice(triton: bool, gpu: bool) -> Finding:
    """What to say of a choice of kernels, given whether they are Triton's."""
    if gpu and not triton:
        found = "eager PyTorch on the GPU, as TDN_KERNELS asks: slower than Triton"
        return warn("kernels", found, "unset TDN_KERNELS")
    if triton and not gpu:
        found = "Triton's interpreter, as TDN_KERNELS asks: for tests, far too slow for training"
        return warn("kernels", found, "unset TDN_KERNELS TRITON_INTERPRET")
    return ok("kernels", "Triton" if triton else "eager PyTorch, as always on a CPU")


def check() -> Iterator[Finding]:
    """Run a kernel."""
    import torch

    gpu = torch.cuda.is_available()
    # Triton reads it where kernels are defined, which is when their module is imported.
    os.environ["TRITON_INTERPRET"] = "0" if gpu else "1"
    import triton

    try:
        problem = _try_kernel("cuda" if gpu else "cpu")
    except Exception as error:  # of any kind: from compilers, assemblers, file systems
        problem = f"{type(error).__name__}: {error}"
    yield judge(Trial(triton.__version__, gpu, problem))


def _try_kernel(device: str) -> str:
    """Compare a kernel with its formula in eager PyTorch; gives what is wrong."""
    import torch

    from tdn.kernels.backend import using
    from tdn.kernels.temporal_conv import temporal_conv

    features = torch.arange(4 * 8 * 9, dtype=torch.float32, device=device).sin().view(4, 8, 3, 3)
    weight = torch.tensor([0.25, 0.5, -1.0], device=device).expand(8, 1, 3)
    results = []
    for backend in ("triton", "reference"):
        with using(backend):
            results.append(temporal_conv(features, weight, 4))
    error = (results[0] - results[1]).abs().max().item()
    return "" if error < 1e-5 else f"its result is wrong by {error:.3g}"


def judge(trial: Trial) -> Finding:
    """What to say of a trial."""
    how = "compiles and runs a kernel" if trial.gpu else "its interpreter runs a kernel"
    if not trial.problem:
        return ok("triton", f"{trial.version}: {how}")
    found = f"{trial.version}: {trial.problem}"
    if trial.gpu:
        return fail("triton", found, _remedy(trial.problem))
    return warn("triton", f"{found}; on a CPU only tests need it", install("triton", again=True))


def _remedy(problem: str) -> str:
    said = problem.lower()
    if "c compiler" in said or "calledprocesserror" in said or "python.h" in said:
        return "sudo apt-get install gcc python3-dev, for the C programs that start kernels"
    if "libcuda" in said:
        return "sudo ldconfig; where that does not help, start the container with --gpus all"
    if any(word in said for word in ("permission", "read-only", "no space", "quota")):
        return "export TRITON_CACHE_DIR=/a/folder/with/room"
    return f"{install('--upgrade', 'triton')}, or train without: export TDN_KERNELS=reference"
