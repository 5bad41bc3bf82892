"""Which file a failed batch failed for: DALI's errors mostly do not name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdn.pipelines.decoding.fetching import Fetched, decode_picture, fetch
from tdn.pipelines.graphs.graph import Graph
from tdn.pipelines.manifests.file_checks import FileChecks, content_changed
from tdn.pipelines.sampling.plans import View
from tdn.pipelines.videos.reading import DecodingError, cause_of


def find_undecodable(
    views: Sequence[View], graph: Graph, checks: FileChecks
) -> list[tuple[View, str]]:
    """Decode views one by one in the same graph; those that fail, with the reason.

    Where the storage fails in a way that may pass, that is waited for.
    """
    candidates = [view for view in views if graph.decodes(view.clip)]
    causes = [(view, _failure(view, graph, checks)) for view in candidates]
    return [(view, cause) for view, cause in causes if cause]


def _failure(view: View, graph: Graph, checks: FileChecks) -> str:
    """Why a view cannot be decoded, "" if it can."""

    def source(info: Any) -> Any:
        if info.iteration:
            raise StopIteration
        return graph.inputs([view], [fetched])

    try:
        fetched = fetch(view, True, checks)
        if not view.clip.is_pictures and content_changed(view.clip):
            return "its content is not what was indexed"
        pipeline = graph.pipeline(source, views=1, places=view.frames.size, threads=1, prefetch=1)
        pipeline.run()
    except DecodingError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {cause_of(error)}"
    except RuntimeError as error:
        return _damaged_picture(view, fetched) or dali_reason(error)
    return ""


def _damaged_picture(view: View, fetched: Fetched) -> str:
    """Which of a view's pictures Pillow cannot decode either, and why; "" if there is none.

    DALI counts its samples, and sometimes only says that its pipeline is of no more use.
    """
    if not view.clip.is_pictures or fetched.encoded is None:
        return ""
    for number, file in zip(np.unique(view.frames).tolist(), fetched.encoded, strict=True):
        try:
            decode_picture(view, number, file.tobytes())
        except DecodingError as error:
            return str(error)
    return ""


def dali_reason(error: BaseException) -> str:
    """What went wrong, out of DALI's page of context and call stack."""
    text = str(error)
    reason = text.rsplit("encountered:", 1)[-1].split("C++ context", 1)[0]
    return " ".join(reason.split()) or type(error).__name__
