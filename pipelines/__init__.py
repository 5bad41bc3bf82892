"""From a list of videos to batches of clips, in the order of the way:

``lists`` -> ``indexing`` (``probe``) -> ``manifest`` -> ``plans`` (``randomness``, ``sampling``,
``augmentation``) -> ``stream`` (``graph`` in DALI, ``pyav_decoding``) -> ``loader``. The demo data
set is in ``demo_data``.
"""
