"""The demo data set: labelled videos in which only motion tells classes apart.

``classes`` names the motions, ``scenes`` moves things, ``sprites`` and ``photos`` give them their
looks, ``render`` makes frames, ``encode`` makes videos, ``writer`` makes the data set.
"""

from __future__ import annotations

from tdn.pipelines.demo_data.writer import DemoData, write_demo_data

__all__ = ["DemoData", "write_demo_data"]
