"""What a value must be to be of use: the checks behind every refused key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from tdn.errors import UserError


@dataclass(frozen=True)
class Rule:
    """A condition on one key's value and what to say when it fails."""

    key: str
    """Dotted key."""
    holds: Callable[[Any], bool]
    """Whether a value fits; one of a type that it cannot judge does not."""
    need: str
    """What fits, to come after "give"."""

    def check(self, value: object) -> None:
        """Refuse a value that does not fit.

        Raises:
            UserError: Names the key, the value and what fits.
        """
        try:
            fits = self.holds(value)
        except TypeError:
            fits = False
        if not fits:
            raise UserError(f"{self.key}: {value!r} does not fit; give {self.need}")


def check_rules(rules: Iterable[Rule], settings: object) -> None:
    """Check every rule's key, read from the attributes of ``settings``.

    Raises:
        UserError: As ``Rule.check``.
    """
    for rule in rules:
        value: Any = settings
        for part in rule.key.split("."):
            value = getattr(value, part)
        rule.check(value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
