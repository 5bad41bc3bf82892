"""From a clip's file to its pictures, as far as that is Python's part and not DALI's.

``decoders`` says who decodes what. ``fetching`` fetches a view: ``excerpts`` cuts the packets out
of a video that its frames need, ``pyav_decoding`` decodes what DALI does not, and ``jpeg_headers``
keeps pictures from DALI that would crash it. ``frame_reading`` and ``frame_times`` go through a
whole clip, for ``tdn predict`` and ``tdn transcode``.
"""
