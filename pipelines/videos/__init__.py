"""What lies in a video file, and making one.

``reading`` says which picture is frame n, ``survey`` how many there are, and ``key_frames`` where
decoding can begin. ``container_sizes`` and ``vpx_headers`` look at what FFmpeg does not tell, and
``encoding`` writes videos.
"""
