"""NVIDIA DALI: whether it builds and runs a pipeline here; and small ones that decode.

Everything runs on the GPU if there is one, else on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nvidia.dali import __version__, fn, pipeline_def, types

from tdn.doctor.findings import Finding, fail, ok
from tdn.doctor.gpus import has_gpu
from tdn.doctor.remedies import install

Pixels = npt.NDArray[np.uint8]


class Trial(NamedTuple):
    """What came of running a pipeline."""

    version: str
    gpu: bool
    problem: str = ""
    """Why it failed; else empty."""


def check() -> Iterator[Finding]:
    """Run a pipeline that mirrors a picture."""
    gpu = has_gpu()
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    try:
        right = np.array_equal(_run(_mirror, picture, gpu), picture[:, ::-1])
        problem = "" if right else "a mirrored picture is wrong"
    except Exception as error:  # whatever DALI, the driver and the libraries may raise
        problem = reason(error)
    yield judge(Trial(__version__, gpu, problem))


def judge(trial: Trial) -> Finding:
    """What to say of a trial."""
    where = "GPU" if trial.gpu else "CPU"
    if not trial.problem:
        return ok("dali", f"{trial.version}: builds and runs a pipeline on the {where}")
    return fail("dali", f"{trial.version}: {trial.problem}", remedy(trial.problem))


def remedy(problem: str, *packages: str) -> str:
    """What to type where DALI fails; packages are what it needs beside itself."""
    said = problem.lower()
    if "cuda is not available" in said or "cuda_error_no_device" in said:
        return "nvidia-smi must show a GPU: docker run --gpus all, or sbatch --gpus-per-node 1"
    if "driver" in said:
        return "update the NVIDIA driver to 580 or newer; for a container, on its host"
    return install("nvidia-dali-cuda130", *packages, again=True)


def decode_video(file: bytes, frames: Sequence[int], gpu: bool) -> Pixels:
    """Decode frames of an encoded video: (frames, height, width, 3)."""
    return _run(_decode_video, np.frombuffer(file, np.uint8), gpu, frames=list(frames))


def decode_picture(file: bytes, gpu: bool) -> Pixels:
    """Decode an encoded picture: (height, width, 3)."""
    return _run(_decode_picture, np.frombuffer(file, np.uint8), gpu)


def reason(error: Exception) -> str:
    """What DALI says is wrong, without the trace of its source."""
    from tdn.pipelines.streaming.faults import dali_reason  # imports torch, which takes its time

    return dali_reason(error)


def _run(define: Any, data: Pixels, gpu: bool, **settings: Any) -> Pixels:
    """The output of a pipeline for one sample."""
    pipeline = define(
        gpu=gpu,
        batch_size=1,
        num_threads=1,
        device_id=0 if gpu else None,
        prefetch_queue_depth=1,
        exec_dynamic=True,
        **settings,
    )
    pipeline.build()
    (output,) = pipeline.run(data=[data])
    return np.array(output.as_cpu().at(0))


@pipeline_def
def _mirror(gpu: bool) -> Any:
    picture = fn.external_source(name="data", dtype=types.UINT8, ndim=3, layout="HWC")
    return fn.flip(picture.gpu() if gpu else picture, horizontal=1)


@pipeline_def
def _decode_video(gpu: bool, frames: list[int]) -> Any:
    file = fn.external_source(name="data", dtype=types.UINT8, ndim=1)
    device = "mixed" if gpu else "cpu"
    return fn.decoders.video(file, frames=frames, pad_mode="none", device=device)


@pipeline_def
def _decode_picture(gpu: bool) -> Any:
    file = fn.external_source(name="data", dtype=types.UINT8, ndim=1)
    return fn.decoders.image(file, output_type=types.RGB, device="mixed" if gpu else "cpu")
