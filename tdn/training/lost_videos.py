"""Videos that turn out to be undecodable, counted over all processes.

Each process sees a part of the videos of an epoch, and another part in the next one, so what they
have lost are sets that overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdn.training.processes.distributed import Processes

if TYPE_CHECKING:
    from tdn.pipelines.loader import Loader


class LostVideos:
    """Judges a list by what all processes together have lost of it.

    Args:
        key: The list's, such as ``data.train_list``.
        loader: This process's; its ``lost`` becomes everybody's.
        share: How much may be lost, ``data.max_bad_share``.
        processes: Those of the run.
    """

    def __init__(self, key: str, loader: Loader, share: float, processes: Processes) -> None:
        self._key = key
        self._loader = loader
        self._share = share
        self._processes = processes
        self._known = 0

    @property
    def news(self) -> bool:
        """Whether this process has lost videos that the others do not know of."""
        return len(self._loader.lost) > self._known

    def exchange(self) -> str | None:
        """Tell each other; all must call it. Gives the error if too many are lost."""
        lost = self._loader.lost
        lost.update(*self._processes.gather(sorted(lost)))
        self._known = len(lost)
        if self._known <= self._share * self._loader.videos:
            return None
        return (
            f"{self._key}: {self._known} of {self._loader.videos} videos cannot be decoded, "
            f"see above; check the storage, or raise data.max_bad_share ({self._share})"
        )
