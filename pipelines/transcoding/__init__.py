"""Training copies of data sets: smaller pictures, short groups of pictures, or tar shards.

``run.transcode`` plans, makes what is missing, and writes the list; ``measuring`` compares how fast
the original and the copy are decoded.
"""
