"""From a data set to batches of clips: the folders stand along a clip's way.

1. ``sources``: what a data set is given as, to rows of files and labels.
2. ``indexing``: each file is probed once, and what it holds kept in a manifest (``manifests``).
3. ``sampling``: which rows, frames, crops and flips a batch is made of, drawn before anything is
   decoded.
4. ``decoding``: what Python fetches or decodes of a clip's file.
5. ``graphs``: DALI decodes the rest, cuts, resizes and mirrors, on a GPU or on the CPU.
6. ``streaming``: batches made ahead, in order. ``loader`` hands them to the network.

``files`` and ``videos`` are what all of these stand on. ``datasets`` writes lists of the published
data sets, ``demo_data`` makes one, ``transcoding`` makes copies that are faster to decode.
"""
