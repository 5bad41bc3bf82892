"""What receives the events of a run."""

from __future__ import annotations

from typing import Any, Protocol

Event = dict[str, Any]


class Sink(Protocol):
    """Somewhere events go."""

    def write(self, event: Event) -> None:
        """Take an event."""

    def advance(self) -> None:
        """A training step is done; called for each, so this must cost nothing."""

    def sync(self) -> None:
        """Wait until the disk has what was written; called by another thread."""

    def close(self) -> None:
        """Finish."""
