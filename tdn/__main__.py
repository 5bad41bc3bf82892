"""``python -m tdn`` is the ``tdn`` command, also under ``torchrun -m tdn``."""

from __future__ import annotations

from tdn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
