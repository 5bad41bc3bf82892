"""Which file a failed batch failed for: DALI's errors mostly do not name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdn.pipelines.fetching import Fetched, fetch, must_fetch
from tdn.pipelines.graph import VideoGraph
from tdn.pipelines.picture_graph import PictureGraph
from tdn.pipelines.plans import View
from tdn.pipelines.pyav_decoding import DecodingError


def find_undecodable(
    views: Sequence[View], graph: VideoGraph | PictureGraph
) -> list[tuple[View, str]]:
    """Decode views one by one in the same graph; those that fail, with the reason."""
    candidates = [view for view in views if graph.decodes(view.clip)]
    causes = [(view, _failure(view, graph)) for view in candidates]
    return [(view, cause) for view, cause in causes if cause]


def _failure(view: View, graph: VideoGraph | PictureGraph) -> str:
    """Why a view cannot be decoded, "" if it can."""

    def source(info: Any) -> Any:
        if info.iteration:
            raise StopIteration
        return graph.inputs([view], [fetched])

    try:
        fetched = fetch(view, True) if must_fetch(view.clip, True) else Fetched()
        pipeline = graph.pipeline(source, views=1, places=view.frames.size, threads=1, prefetch=1)
        pipeline.run()
    except DecodingError as error:
        return str(error)
    except RuntimeError as error:
        return dali_reason(error)
    return ""


def dali_reason(error: BaseException) -> str:
    """What went wrong, out of DALI's page of context and call stack."""
    text = str(error)
    reason = text.rsplit("encountered:", 1)[-1].split("C++ context", 1)[0]
    return " ".join(reason.split()) or type(error).__name__
