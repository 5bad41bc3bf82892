"""The manifest: what was found of every clip of a data set, in one file that is memory-mapped.

``manifest`` opens it, ``writing`` writes it, and ``file_checks`` compares files with it before
they reach a decoder.
"""
