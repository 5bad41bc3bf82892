"""From a list to its manifest: every clip is opened once, before training.

``run`` indexes a list: ``known_clips`` tells what need not be probed again, ``probe`` looks at a
clip (``probe_workers``: at many, in processes that may crash), and ``journal`` keeps what was found
if the run is interrupted. ``manifest_cache`` does this when a list is asked for, after
``list_checks`` has looked for what is amiss in the list itself.
"""
