from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from tdn import UserError
from tdn.rules import Rule, check_rules, is_number, is_whole

POSITIVE = Rule("section.size", lambda v: v > 0, "a number above 0")


@pytest.mark.parametrize("value", [0, -1.5, "3", None, [], {}, 1j])
def test_what_does_not_fit_is_named_with_what_does(value):
    with pytest.raises(UserError, match=r"^section\.size: .* give a number above 0$") as refusal:
        POSITIVE.check(value)
    assert repr(value) in str(refusal.value)


def test_dotted_keys_are_attributes_of_attributes():
    settings = SimpleNamespace(section=SimpleNamespace(size=1), size=-1)
    check_rules([POSITIVE], settings)
    settings.section.size = -1
    with pytest.raises(UserError, match=r"section\.size"):
        check_rules([POSITIVE], settings)


def test_kinds_of_numbers():
    for whole in (0, -3, np.int64(2), np.uint8(2)):
        assert is_whole(whole)
        assert is_number(whole)
    for number in (0.5, float("nan"), np.float32(2), Fraction(1, 2)):
        assert is_number(number)
        assert not is_whole(number)
    for neither in (True, False, "1", None, 1j, [1], np.bool_(True)):
        assert not is_number(neither)
        assert not is_whole(neither)
