"""Stores that do not answer, in place of one on another host."""

from __future__ import annotations

import threading

import torch.distributed as dist


class CutStore(dist.HashStore):
    """On the other side of a connection that can be cut: then no call returns."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = threading.Event()
        self.connected.set()
        self.asked = 0

    def clone(self) -> dist.Store:
        return self

    def check(self, keys: list[str]) -> bool:
        self._wait()
        return super().check(keys)

    def compare_set(self, key: str, expected: str, wanted: str) -> bytes:
        self._wait()
        return super().compare_set(key, expected, wanted)

    def _wait(self) -> None:
        self.asked += 1
        self.connected.wait()


class GoneStore(dist.HashStore):
    """Of a process that has ended: every call fails."""

    def clone(self) -> dist.Store:
        return self

    def check(self, *_: object) -> bool:
        raise RuntimeError("Connection reset by peer")

    set = compare_set = check
