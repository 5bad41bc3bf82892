"""What a graph is to whoever runs it, whether it decodes videos or pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
from nvidia.dali.pipeline import Pipeline

from tdn.pipelines.decoding.fetching import Fetched
from tdn.pipelines.graphs.photometric_nodes import NO_EFFECTS, Effects
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.plans import View


class Graph(ABC):
    """Makes pipelines that decode clips.

    Args:
        target: Height and width of the output.
        device_id: GPU that decodes (NVDEC, nvJPEG) and resizes, or None for the CPU.
        effects: The photometric effects that views may have.
    """

    def __init__(self, target: Size, device_id: int | None, effects: Effects = NO_EFFECTS) -> None:
        self._target = target
        self._device_id = device_id
        self._effects = effects

    @property
    def _on_gpu(self) -> bool:
        return self._device_id is not None

    @abstractmethod
    def decodes(self, clip: Clip) -> bool:
        """Whether DALI decodes a clip; else its frames are to be fetched as pictures."""

    @abstractmethod
    def pipeline(
        self, source: Callable[[Any], Any], *, views: int, places: int, threads: int, prefetch: int
    ) -> Pipeline:
        """Define the graph; its first run instantiates it.

        Args:
            source: Called with DALI's batch information; returns what ``inputs`` returns, or raises
                StopIteration.
            views: Largest number of clips in a batch.
            places: Frames of a clip, T*5.
            threads: CPU threads.
            prefetch: Batches prepared ahead.

        Returns:
            A pipeline with one output, uint8: (clips, T*5, height, width, 3), or with clips and
            frames in one dimension.
        """

    @abstractmethod
    def inputs(
        self, views: Sequence[View], fetched: Sequence[Fetched]
    ) -> list[list[npt.NDArray[Any]]]:
        """What the graph is fed: a list for each input, with an array for each sample."""

    def _defined(
        self, graph: Callable[..., Pipeline], source: object, samples: int, threads: int, ahead: int
    ) -> Pipeline:
        """The pipeline of a graph's function, for batches of so many samples."""
        return graph(
            source,
            self._target,
            self._on_gpu,
            self._effects,
            batch_size=samples,
            num_threads=threads,
            prefetch_queue_depth=ahead,
            device_id=self._device_id,
            # Outputs of the dynamic executor stay intact while they are held: zero copy needs that.
            exec_dynamic=True,
        )
