"""The DALI graphs: encoded files in, uint8 network input out, the same on a GPU and on the CPU.

``video_graph`` and ``picture_graph`` share ``parts``; ``resizing`` is done by torch on the CPU, and
``photometric_nodes`` changes colours where that is asked for.
"""
