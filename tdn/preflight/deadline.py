"""Waiting no longer than that for calls that know no limit of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

_Value = TypeVar("_Value")


def in_time(action: Callable[[], _Value], seconds: float) -> _Value:
    """What an action gives, or raises.

    Torch's store keeps to no timeout while it shakes hands with whoever listens at its address, and
    while it waits Python carries out no handler of a signal. So another thread waits for it, which
    is left behind if it does not come back: it does not keep the process from ending.

    Raises:
        TimeoutError: It takes longer.
    """
    value: futures.Future[_Value] = futures.Future()

    def act() -> None:
        try:
            value.set_result(action())
        except BaseException as error:
            value.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    try:
        return value.result(seconds)
    except futures.TimeoutError:
        raise TimeoutError from None
