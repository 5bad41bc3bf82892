"""Triton's interpreter, which runs the kernels where there is no GPU, at half its price.

Its own upkeep takes longer than the kernels' arithmetic. What is left out here changes no result:

- ``triton.language`` is made ready to be interpreted for each launch, and made so again by every
  function that a kernel calls: once a module is enough.
- Every sum and product of integers, nearly all of them addresses, is done a second time in 64 bits
  to report an overflow. A GPU does not, and a wrong number differs from the reference.
"""

from __future__ import annotations

from typing import Any

from triton.runtime import interpreter

_ready: set[str] = set()
"""Modules whose functions have been called; they stay ready, or are by the kernel's launch."""


def _call(function: interpreter.InterpretedFunction, *arguments: Any, **named: Any) -> Any:
    """A function that a kernel calls."""
    module = function.fn.__module__
    if module not in _ready:
        interpreter._patch_lang(function.fn)
        _ready.add(module)
    return function.rewrite()(*arguments, **named)


def quicken() -> None:
    """Leave it out in this process."""
    interpreter.InterpretedFunction.__call__ = _call
    options = interpreter.InterpreterOptions(sanitize_overflow=False)
    interpreter.interpreter_builder.options = options
