"""The DALI graphs: encoded files in, uint8 network input out, the same on a GPU and on the CPU.

``graph`` is what ``video_graph`` and ``picture_graph`` are to others, ``parts`` what they share;
``resizing`` is done by torch on the CPU, and ``photometric_nodes`` changes colours where that is
asked for.
"""
