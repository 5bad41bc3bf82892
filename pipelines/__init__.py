"""From a data set to batches of clips, in the order of the way:

``sources`` -> ``indexing`` (``probe``) -> ``manifest`` -> ``plans`` (``randomness``, ``sampling``,
``augmentation``) -> ``stream`` (``graph`` in DALI, ``pyav_decoding``) -> ``loader``. The demo data
set is in ``demo_data``.
"""
