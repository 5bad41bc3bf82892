"""A network as a drawing: how clips pass through it, with shapes and costs.

Above, the way from clips to logits, with S-TDM beside the stem and stage 1; below, a block that
carries temporal modules, and what an L-TDM does to the features in it (paper, section 3).
"""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from torch import nn

from tdn.long_term import LongTermTDM
from tdn.network import Network
from tdn.summary import Cost, Summary
from tdn.temporal_conv import TemporalConv
from tdn.visualization.boxes import STYLE, Canvas

BACKBONE, OUTSIDE, S_TDM = "#eef0f2", "#ffffff", "#cfe3f5"
CARRIED: dict[str, tuple[str, type[nn.Module], str]] = {
    "L-TDM": ("long_term", LongTermTDM, "#fbdcc0"),
    "temporal conv": ("temporal_conv", TemporalConv, "#cdebd0"),
}
"""What a block may carry: where it has it, what it then is, and its colour."""
WIDTH, DETAILS = 128, 28
"""Of the drawing in units: its width, and the height of what is below the lanes."""
RGB, MOTION = 10, 25
"""Heights of the lane of centre frames and of that of S-TDM."""
CLIP, FRAMES, STEM, FIRST, STAGE1, SECOND, HEAD = 7, 23, 41, 51, 60, 70, 121
"""Where things stand in the lanes; first and second are the fusions."""
STAGES = {1: STAGE1, 2: 79, 3: 93, 4: 107}
BOX, TALL = 11, 10


def architecture_figure(network: Network, summary: Summary, height: int, width: int) -> Figure:
    """Draw a network.

    Args:
        network: What to draw, on any device.
        summary: Its costs for clips of this size (``tdn.summary.summarise``).
        height: Of the clips' frames, pixels.
        width: Of the clips' frames, pixels.

    Returns:
        The figure, to be saved under ``tdn.visualization.boxes.STYLE``.
    """
    carrier = _carrier(network)
    with mpl.rc_context(STYLE):
        lanes = 20 if network.short_term is None else 38
        canvas = Canvas(WIDTH, lanes, DETAILS if carrier else 0)
        text = (
            f"{network.num_segments} segments of 5 frames, {height} x {width} pixels: "
            f"{summary.total.parameters / 1e6:.2f} M parameters, {_cost(summary.total)} "
            "multiply-adds a clip"
        )
        canvas.text((1.5, lanes - 2), text, ha="left", weight="bold", fontsize=9)
        text = "in boxes: features of a segment, multiply-adds of a clip"
        canvas.text((WIDTH - 1.5, lanes - 2), text, ha="right")
        _draw_frames(canvas, network, summary)
        if network.short_term is not None:
            _draw_short_term(canvas, network, summary)
        for number in STAGES:
            _draw_stage(canvas, network, summary, number)
        if carrier:
            _draw_block(canvas, network, summary, carrier)
            if _carries(network.get_submodule(carrier), "L-TDM"):
                _draw_long_term(canvas, network, summary, f"{carrier}.long_term")
    return canvas.figure


def _draw_frames(canvas: Canvas, network: Network, summary: Summary) -> None:
    """The lane of centre frames: all but its stages, which stand between stem and head."""
    segments, motion = network.num_segments, network.short_term is not None
    middle = (RGB + MOTION) / 2 if motion else RGB
    clip = ["clips", f"{segments} x 5 x H x W x 3", "uint8"]
    canvas.box((CLIP, middle), (12, TALL), clip, OUTSIDE)
    stem = ["short-term stem", "normalise,"] if motion else ["frames", "normalise"]
    stem += ["4 differences,", "2 x 2 pool"] if motion else []
    canvas.box((FRAMES, middle), (12, MOTION - RGB + TALL if motion else TALL), stem, OUTSIDE)
    canvas.arrow((CLIP + 6, middle), (FRAMES - 6, middle))
    canvas.arrow((FRAMES + 6, RGB), (STEM - BOX / 2, RGB))
    canvas.text((STEM - BOX / 2 - 2.5, RGB + 1.2), "centre", ha="right", fontsize=6.5)
    lines = ["stem", "conv 7 x 7, pool", *_facts(summary, "stem")]
    canvas.box((STEM, RGB), (BOX, TALL), lines, BACKBONE)
    stops = {0: STEM, **STAGES, 5: HEAD}
    for number in range(5):
        canvas.arrow((stops[number] + BOX / 2, RGB), (stops[number + 1] - BOX / 2, RGB))
    lines = ["head", "pool, linear,", "mean over", "segments"]
    canvas.box((HEAD, RGB), (BOX, TALL), [*lines, f"→ {network.num_classes} logits"], OUTSIDE)


def _draw_short_term(canvas: Canvas, network: Network, summary: Summary) -> None:
    """S-TDM beside the stem and stage 1, and its fusions."""
    fusions, (a, b) = network.temporal.fusions, network.fusion_weights
    copied = fusions != "first"
    left, right = STEM - BOX / 2 - 2, (STAGE1 if copied else STEM) + BOX / 2 + 2
    canvas.box(((left + right) / 2, MOTION), (right - left, TALL + 4), [], S_TDM)
    title = f"S-TDM, {_file(network.short_term)}: {_cost(summary.parts['S-TDM'])}"
    canvas.text((left, MOTION + TALL / 2 + 3.5), title, ha="left", weight="bold")
    canvas.arrow((FRAMES + 6, MOTION), (STEM - BOX / 2, MOTION))
    canvas.text((left - 0.5, MOTION + 1.2), "motion", ha="right", fontsize=6.5)
    lines = ["conv 7 x 7, pool", _shape(summary, "short_term")]
    canvas.box((STEM, MOTION), (BOX, TALL), lines, OUTSIDE)
    if copied:
        canvas.arrow((STEM + BOX / 2, MOTION), (STAGE1 - BOX / 2, MOTION))
        lines = ["own stage 1", _shape(summary, "short_term.stage")]
        canvas.box((STAGE1, MOTION), (BOX, TALL), lines, OUTSIDE)
    for name, source, x in (("first", STEM, FIRST), ("second", STAGE1, SECOND)):
        if fusions in ("both", name):
            canvas.arrow((source + BOX / 2, MOTION), (x, MOTION), (x, RGB + 1.2))
            canvas.operator((x, RGB), "+")
            canvas.text((x + 0.8, RGB + TALL / 2 + 1.2), f"{a:g} x + {b:g} d", ha="left")


def _draw_stage(canvas: Canvas, network: Network, summary: Summary, number: int) -> None:
    """A stage, and below it what its blocks carry."""
    name, x = f"stage{number}", STAGES[number]
    blocks = network.get_submodule(name)
    count = len(list(blocks.children()))
    lines = [f"stage {number}", f"{count} block{'s' * (count > 1)}", *_facts(summary, name)]
    canvas.box((x, RGB), (BOX, TALL), lines, BACKBONE)
    below = RGB - TALL / 2 - 1.6
    for kind, (_, _, colour) in CARRIED.items():
        if _carries(blocks.get_submodule("0"), kind):
            canvas.box((x, below), (BOX, 2), [kind], colour)
            below -= 2.4


def _draw_block(canvas: Canvas, network: Network, summary: Summary, name: str) -> None:
    """A block's modules in a row, and its shortcut around them."""
    block, y, x, wide = network.get_submodule(name), -17, 9.3, 9.8
    title = f"a block of stage {name[5]}, {_file(block)}"
    canvas.text((1.5, -3), title, ha="left", weight="bold")
    canvas.arrow((1.5, y), (x - wide / 2, y))
    last = [part for part, m in block.named_children() if isinstance(m, nn.Conv2d)][-1]
    for part, module in block.named_children():
        lines, colour = [], BACKBONE
        if isinstance(module, nn.Conv2d):
            size = " x ".join(map(str, module.kernel_size))
            lines = [f"conv {size}", "BN, ReLU", _shape(summary, f"{name}.{part}")]
            if part == last:
                lines[1] = "BN"
        for kind, (place, _, own) in CARRIED.items():
            if part == place and _carries(block, kind):
                lines, colour = [kind, _cost(summary.modules[f"{name}.{part}"])], own
        if lines:
            canvas.box((x, y), (wide, 8), lines, colour)
            canvas.arrow((x + wide / 2, y), (x + wide / 2 + 2, y))
            x += wide + 2
    end = x - wide / 2 + 1.2
    canvas.operator((end, y), "+")
    canvas.arrow((2.5, y), (2.5, y + 7), (end, y + 7), (end, y + 1.2))
    canvas.text(((2.5 + end) / 2, y + 8.2), "shortcut", fontsize=6.5)
    canvas.arrow((end + 1.2, y), (end + 4, y))


def _draw_long_term(canvas: Canvas, network: Network, summary: Summary, name: str) -> None:
    """What an L-TDM does, with the shapes that it has in a block."""
    module, (left, right), (top, bottom) = network.get_submodule(name), (70, 126.5), (-5, -27)
    y, colour = (top + bottom) / 2, CARRIED["L-TDM"][2]
    canvas.box(((left + right) / 2, y), (right - left, top - bottom), [], colour)
    costs = _cost(summary.parts["L-TDM"])
    title = f"L-TDM, {_file(module)}: {costs} in all blocks"
    canvas.text((left, -3), title, ha="left", weight="bold")
    small = _shape(summary, f"{name}.reduce")
    canvas.box((76, y), (9, 9), ["reduce", "conv 1 x 1, BN", small], OUTSIDE)
    ways = {"both": "next, previous"}.get(network.temporal.directions, network.temporal.directions)
    canvas.box((87.5, y), (10, 9), ["differences", "to the segment", ways], OUTSIDE)
    canvas.arrow((80.5, y), (82.5, y))
    branches = [("half", "2 x 2 pool, conv, up"), ("full", "conv 3 x 3, BN")]
    rows = [(part, text) for part, text in branches if hasattr(module, f"{part}_conv")]
    rows.insert(len(rows) // 2, ("difference", "as it is"))
    for number, lines in enumerate(rows):
        at = y + 6.5 * ((len(rows) - 1) / 2 - number)
        canvas.box((101.5, at), (12, 5), lines, OUTSIDE)
        canvas.arrow((92.5, y), (95.5, at))
        canvas.arrow((107.5, at), (110, y))
    canvas.box((114, y), (8, 9), ["expand", "mean, conv,", "BN"], OUTSIDE)
    canvas.arrow((118, y), (119.4, y))
    canvas.box((122.6, y), (6.4, 9), ["gate", "x + g x,", "g = q - 1/2"], OUTSIDE)


def _carrier(network: Network) -> str | None:
    """The last block of the first stage whose blocks carry most; None if none carries anything."""
    counts = {}
    for number in STAGES:
        *_, (last, block) = network.get_submodule(f"stage{number}").named_children()
        counts[f"stage{number}.{last}"] = sum(_carries(block, kind) for kind in CARRIED)
    most = max(counts, key=lambda name: counts[name])
    return most if counts[most] else None


def _carries(block: nn.Module, kind: str) -> bool:
    place, module, _ = CARRIED[kind]
    return isinstance(block.get_submodule(place), module)


def _facts(summary: Summary, name: str) -> list[str]:
    """Shape of a frame's features, and multiply-adds."""
    return [_shape(summary, name), _cost(summary.modules[name])]


def _shape(summary: Summary, name: str) -> str:
    return " x ".join(map(str, summary.shapes[name][1:]))


def _cost(cost: Cost) -> str:
    """Multiply-adds."""
    millions = cost.multiply_adds / 1e6
    return f"{millions / 1000:.2f} G" if millions >= 100 else f"{millions:.3g} M"


def _file(module: object) -> str:
    """Where a module's class is written."""
    return type(module).__module__.replace(".", "/") + ".py"
