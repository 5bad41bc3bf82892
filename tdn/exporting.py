"""The evaluation network as a file that runs without this package, checked before it is written.

    .onnx   ONNX, for ONNX Runtime, TensorRT and others
    .pt2    a torch.export program, for torch.export.load

Both take what the pipeline delivers, uint8 clips of any number, and give logits; normalisation and
frame differences are inside. Beside the file, one of its name with .json behind says how clips are
made, and what the classes are called.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import tdn
from tdn.errors import UserError
from tdn.files import check_not_an_input, write_atomically, write_text_atomically
from tdn.kernels.backend import using
from tdn.pipelines.sampling.augmentation import as_size
from tdn.trained import Trained

FORMATS = (".onnx", ".pt2")
OPSET = 18
"""Of ONNX; the oldest that the exporter writes without conversion."""
_CHECKED = (1, 2, 3)
"""Numbers of clips that are tried."""
_CLOSE = 1e-3
"""Largest deviation from eager PyTorch that is taken, as a part of the largest logit."""

Run = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""From clips to logits."""


class Exported(NamedTuple):
    """What was written."""

    path: Path
    description: Path
    deviation: float
    """The largest from eager PyTorch's logits, as a part of the largest logit."""


def export(
    trained: Trained,
    path: Path,
    *,
    crop_size: int | tuple[int, int] | None = None,
    opset: int = OPSET,
) -> Exported:
    """Write a network and its description.

    Args:
        trained: The network, on the CPU.
        path: File to write; its ending says the format.
        crop_size: Height and width of the clips, pixels; by default as validated.
        opset: Version of ONNX's operators.

    Raises:
        UserError: The format is unknown, a package is missing, the result differs from eager
            PyTorch, or the file cannot be written or is the checkpoint.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: does not fit; give a name that ends in {' or '.join(FORMATS)}")
    check_not_an_input(path, [trained.report.path])
    size = as_size(crop_size or trained.config.data.crop_size)
    shape = trained.config.model.num_segments, 5, *size, 3
    with tempfile.TemporaryDirectory(prefix="tdn-") as folder, _quietly(), using("reference"):
        draft = Path(folder) / path.name
        make = _onnx if path.suffix == ".onnx" else _program
        run = make(trained, _clips(2, shape), draft, opset)
        deviation = max(_deviation(trained, run, _clips(count, shape)) for count in _CHECKED)
        if not deviation <= _CLOSE:
            raise UserError(
                f"{path}: not written, its logits differ from PyTorch's by {deviation:.1e} of the "
                "largest; try another --opset, or .pt2"
            )
        content = draft.read_bytes()
    write_atomically(path, lambda file: file.write(content))
    description = path.with_name(f"{path.name}.json")
    write_text_atomically(description, json.dumps(describe(trained, shape), indent=2) + "\n")
    return Exported(path, description, deviation)


def describe(trained: Trained, shape: tuple[int, ...]) -> dict[str, Any]:
    """What a user of an exported network has to know, as plain values.

    Args:
        trained: The network.
        shape: Of one clip: (T, 5, H, W, 3).
    """
    data, model = trained.config.data, trained.config.model
    return {
        "input": {
            "name": "clips",
            "type": "uint8",
            "shape": ["any number of clips", *shape],
            "axes": ["clip", "segment", "frame", "row", "column", "RGB"],
        },
        "output": {
            "name": "logits",
            "type": "float32",
            "shape": ["any number of clips", model.num_classes],
        },
        "clips": {
            "sampling": data.sampling,
            "dense_span": data.dense_span,
            "stride": data.stride,
            "short_side": data.short_side,
            "crop": "the centre, after the shorter side was resized to short_side",
        },
        "classes": list(trained.classes),
        "model": model.name,
        "checkpoint": str(trained.report.path),
        "tdn": tdn.__version__,
        "torch": torch.__version__,
    }


def _program(trained: Trained, clips: Tensor, draft: Path, _opset: int) -> Run:
    shapes = {"clips": {0: torch.export.Dim("clips", min=1)}}
    torch.export.save(torch.export.export(trained.model, (clips,), dynamic_shapes=shapes), draft)
    program = torch.export.load(draft).module()

    def run(given: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = program(torch.from_numpy(given)).numpy()
        return logits

    return run


def _onnx(trained: Trained, clips: Tensor, draft: Path, opset: int) -> Run:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {error.name}; pip install -e '.[export]', or give a .pt2 file"
        ) from None
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise UserError(f"--opset: {opset} does not fit; give a number from {OPSET} to {newest}")
    program = torch.onnx.export(
        trained.model,
        (clips,),
        dynamo=True,
        dynamic_shapes={"clips": {0: "clips"}},
        input_names=["clips"],
        output_names=["logits"],
        opset_version=opset,
        verbose=False,
    )
    assert program is not None  # as with dynamo
    program.save(draft)
    written = next(s.version for s in onnx.load(draft).opset_import if not s.domain)
    if written != opset:  # the exporter goes on without a conversion that failed
        raise UserError(f"--opset: {opset} is not to be had for this network; give {written}")
    session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])

    def run(given: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = session.run(["logits"], {"clips": given})[0]
        return logits

    return run


def _clips(count: int, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)


def _deviation(trained: Trained, run: Run, clips: Tensor) -> float:
    with torch.inference_mode():
        expected = trained.model(clips).numpy()
    found = run(clips.numpy())
    return float(np.abs(found - expected).max() / np.abs(expected).max().clip(1e-12))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' own news."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
