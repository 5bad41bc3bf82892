"""Show what the configured network costs, module by module, without training or data.

The table is for one clip of data.crop_size in evaluation mode: parameters; multiply-adds of convs
and linear layers; and what all other operations read and write, in float32. At the end the same
for S-TDM, L-TDM and the temporal convs, which are contained in the modules above. --draw makes a
picture of the network: how clips pass through it, what its blocks carry, shapes and costs.

  tdn summary --config configs/demo.yaml
  tdn summary --config configs/demo.yaml --depth 3 --model.name tsn_resnet50
  tdn summary --config configs/demo.yaml --draw network.svg
"""

from __future__ import annotations

import argparse

from tdn.commands.checks import check_least, file_named
from tdn.commands.configuration import read_config

HELP = "what a network costs: parameters, multiply-adds, memory traffic"
CONFIGURED = True
FORMATS = (".svg", ".png", ".pdf")
"""Of drawings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--depth",
        type=int,
        default=1,
        metavar="N",
        help="1 shows the stages, 2 their blocks, 3 and 4 what these consist of (1)",
    )
    parser.add_argument(
        "--draw", metavar="FILE", help="also draw the network into this file: .svg, .png or .pdf"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    check_least("depth", arguments.depth)
    drawing = file_named("draw", arguments.draw, *FORMATS) if arguments.draw else None
    config = read_config(arguments)
    import torch

    from tdn.summary import summarise, table
    from tdn.trained import create_network

    size = config.data.crop_size
    height, width = (size, size) if isinstance(size, int) else size
    with torch.device("meta"):
        network = create_network(config.model)
    summary = summarise(network, height, width)
    model = config.model
    print(
        f"{model.name}: one clip of {model.num_segments} segments, {height} x {width} pixels, "
        f"{model.num_classes} classes\n"
    )
    print(table(summary, arguments.depth))
    if drawing is not None:
        from tdn.visualization.architecture import architecture_figure
        from tdn.visualization.boxes import save_drawing

        save_drawing(architecture_figure(network, summary, height, width), drawing)
        print(f"\n{drawing}")
    return 0
