"""Files that others made, as they lie on disks and servers, where anything may be amiss.

``frame_folders`` and ``shard_reading`` know how frames lie in folders and in tar shards,
``storage`` waits for what may pass, ``locks`` keeps processes apart, and ``subprocess_workers``
does work that may crash or hang without harm.
"""
