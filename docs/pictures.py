"""The pictures of README.md and of these pages, made by the product's own commands.

    make pictures    # runs make demo before, and python docs/pictures.py

What shows the demo's data depends on the trained networks, so it is made anew only when the demo
has changed; tests compare the drawing of the network with the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from tdn import cli

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
DEMO = ROOT / "runs" / "demo"
CLIP = DEMO / "data_seed1" / "videos" / "validation_00036.webm"
QUALITY = 85
"""Of WebP, which takes a tenth of a PNG's bytes for photographs."""


def run(*words: str | Path) -> None:
    """Do what ``tdn`` does with these words.

    Raises:
        SystemExit: It fails.
    """
    status = cli.main([str(word) for word in words])
    if status:
        raise SystemExit(status)


def shrink(source: Path, name: str) -> None:
    """Keep a picture in fewer bytes."""
    with Image.open(source) as picture:
        picture.save(PICTURES / name, quality=QUALITY, method=6)
    print(PICTURES / name)


def main() -> int:
    """Make all of them."""
    if not (DEMO / "summary.json").exists():
        print(f"{DEMO}: there is no finished demo; run make demo", file=sys.stderr)
        return 2
    recipe = ROOT / "configs" / "ssv2_r50_8f.yaml"
    run("summary", "--config", recipe, "--draw", PICTURES / "architecture.svg")
    networks = [DEMO / name / "checkpoints" / "last.pt" for name in ("tdn", "tsn")]
    found = ["--checkpoint", networks[0], "--baseline", networks[1]]
    shown = ["--layer", "stage2", "--side", "112", "--output", DEMO / "cam.png"]
    run("visualize", "cam", CLIP, *found, *shown)
    shrink(DEMO / "predictions.png", "demo.webp")
    shrink(DEMO / "cam.png", "cam.webp")
    return 0


if __name__ == "__main__":
    sys.exit(main())
