"""Write a trained network as a file that runs without this program.

The ending says the format: .onnx for ONNX Runtime, TensorRT and others, .pt2 for torch.export.load.
The network takes uint8 clips as the pipeline delivers them, (any number, T, 5, H, W, 3), and gives
logits; it is compared with eager PyTorch before it is written. Beside it, a file of its name with
.json behind tells how clips are made and what the classes are called.

  tdn export --checkpoint runs/mine/checkpoints/best.pt --output mine.onnx

ONNX needs further packages: pip install -e '.[export]'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tdn.commands.configuration import read_config
from tdn.commands.trained_options import add_trained_options
from tdn.errors import UserError

HELP = "write a network as ONNX or as a torch.export program"
CONFIGURED = "optional"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_trained_options(parser)
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="file to write, .onnx or .pt2"
    )
    parser.add_argument(
        "--crop-size",
        type=int,
        nargs="+",
        metavar="N",
        help="height and width of the clips, or one number for both, pixels (as validated)",
    )
    parser.add_argument(
        "--opset", type=int, default=18, metavar="N", help="version of ONNX's operators (18)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and print what was written."""
    sides = arguments.crop_size
    if sides is not None and (len(sides) > 2 or min(sides) < 33):
        raise UserError(
            f"--crop-size: {' '.join(map(str, sides))} does not fit; give one or two numbers of "
            "pixels from 33"
        )
    config = read_config(arguments) if arguments.config else None
    from tdn.exporting import export
    from tdn.trained import load_trained

    trained = load_trained(
        arguments.checkpoint, config, raw=arguments.raw, classes=arguments.classes
    )
    crop_size = None if sides is None else (sides[0], sides[-1])
    done = export(trained, Path(arguments.output), crop_size=crop_size, opset=arguments.opset)
    print(f"{done.path}: differs from PyTorch by {done.deviation:.1e} of the largest logit")
    print(f"{done.description}: how clips are made, and the classes")
    return 0
