"""Compiling a launch without a GPU: registers, spills, shared memory and widths of loads.

A recorded launch (``backend.recorded``) has everything that Triton's compiler asks for: types and
divisibility of the arguments, and the constants. What comes out is what a GPU would run, with the
same version of Triton.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tdn.kernels.backend import Launch

WIDEST = 16
"""Bytes of the widest load of a thread."""
LARGE = 1 << 17
"""Elements from which on a tensor counts as large, if no other of the launch is four times as
large: the loads of such tensors are what a kernel waits for."""
TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Load:
    """Loads of one large tensor."""

    tensor: str
    """Name of the kernel's argument."""
    width: int
    """Bytes of the narrowest."""
    possible: int
    """Bytes that its layout allows."""


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes."""

    registers: int
    """Of a thread; 255 is the limit."""
    spills: int
    """Bytes of registers that a thread keeps in memory."""
    shared: int
    """Bytes of shared memory of a program."""
    loads: tuple[Load, ...]
    """Of large tensors."""

    @property
    def narrow(self) -> tuple[Load, ...]:
        """Loads that are narrower than their layout allows."""
        return tuple(load for load in self.loads if load.width < load.possible)


def signature(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any]]:
    """Types, constants and attributes of a launch, as Triton specialises a call at run time."""
    types: dict[str, str] = {}
    constants = dict(launch.constants)
    attributes: dict[tuple[int], Any] = {}
    divisible = [["tt.divisibility", 16]]
    names = launch.kernel.arg_names
    for index, (name, value) in enumerate(zip(names, launch.arguments, strict=False)):
        if isinstance(value, Tensor):
            types[name] = POINTERS[value.dtype]
            attributes[(index,)] = divisible
        elif isinstance(value, float):
            types[name] = "fp32"
        elif value == 1:
            types[name] = "constexpr"
            constants[name] = 1
        else:
            types[name] = "i32"
            if value % 16 == 0:
                attributes[(index,)] = divisible
    return types | dict.fromkeys(launch.constants, "constexpr"), constants, attributes


def compiled(launch: Launch, capability: int) -> Usage:
    """Compile a launch for a compute capability, such as 80 or 90, and read what it takes.

    Raises:
        RuntimeError: the kernel does not compile.
    """
    types, constants, attributes = signature(launch)
    source = ASTSource(
        fn=launch.kernel,
        signature={name: types[name] for name in launch.kernel.arg_names},
        constexprs={(launch.kernel.arg_names.index(name),): v for name, v in constants.items()},
        attrs=attributes,
    )
    target = GPUTarget("cuda", capability, 32)
    kernel = triton.compile(source, target=target, options=launch.options)
    registers, spills = _resources(kernel.asm["cubin"])
    loads = _loads(kernel.asm["ptx"], launch)
    return Usage(registers, spills, kernel.metadata.shared, loads)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and the bytes of its stack: what does not fit in registers."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(TOOLS / "cuobjdump"), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump -res-usage says nothing of registers: {text!r}")
    registers, stack, local = map(int, found.groups())
    return registers, stack + local


def _loads(ptx: str, launch: Launch) -> tuple[Load, ...]:
    """Narrowest loads of large tensors: PTX names the source line of every load."""
    named = zip(launch.kernel.arg_names, launch.arguments, strict=False)
    tensors = {name: value for name, value in named if isinstance(value, Tensor)}
    least = max(LARGE, max(value.numel() for value in tensors.values()) // 4)
    large = {name: value for name, value in tensors.items() if value.numel() >= least}
    loaded = _loaded_tensors(launch.kernel.fn)
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]+)"', ptx))
    home = Path(inspect.getsourcefile(launch.kernel.fn) or "").name
    narrowest: dict[str, int] = {}
    line = 0
    for text in ptx.splitlines():
        if found := re.match(r"\s*\.loc\s+(\d+)\s+(\d+)", text):
            line = int(found[2]) if Path(files[found[1]]).name == home else 0
        elif (width := _width(text)) and (name := loaded.get(line, "")) in large:
            narrowest[name] = min(width, narrowest.get(name, WIDEST))
    return tuple(
        Load(name, width, _possible(large[name])) for name, width in sorted(narrowest.items())
    )


def _loaded_tensors(function: Any) -> dict[int, str]:
    """Which argument is loaded in a line of a kernel's file."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "tl.load":
            base = node.args[0]
            while isinstance(base, ast.BinOp):
                base = base.left
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[first + line - 1] = ast.unparse(base)
    return found


def _width(instruction: str) -> int:
    """Bytes that a PTX instruction loads from global memory; 0 for other instructions."""
    if found := re.search(r"\bld\.global\S*?(?:\.v(\d))?\.[bufs](\d+)\s", instruction):
        return int(found[1] or 1) * int(found[2]) // 8
    if found := re.search(
        r"\bcp\.async\.\w+\.shared\.global\S* \[.*?\], \[.*?\], (\w+)", instruction
    ):
        return int(found[1], 0)
    return 0


def _possible(x: Tensor) -> int:
    """Bytes that lie side by side, from aligned addresses on, in every row of x."""
    row = x.shape[1] if x.stride(1) == 1 else x.stride(1)
    size = row * x.element_size()
    return min(WIDEST, size & -size)
