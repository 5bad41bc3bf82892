from __future__ import annotations

from pathlib import Path

import pytest

from tdn.commands.checks import check_least, file_named
from tdn.errors import UserError


def test_a_number_that_is_too_small_is_named_with_the_least():
    check_least("top", 1)
    check_least("step", 0, 0)
    check_least("workers", None)
    with pytest.raises(UserError, match=r"^--side: 15 .* from 16$"):
        check_least("side", 15, 16)


def test_a_file_is_known_by_its_ending():
    assert file_named("draw", "a.b/NET.SVG", ".svg", ".png") == Path("a.b/NET.SVG")
    for name in ("net", "net.svg.txt", ".svg"):
        with pytest.raises(UserError, match=r"^--draw: .* ends in .png, .pdf or .svg$"):
            file_named("draw", name, ".png", ".pdf", ".svg")
