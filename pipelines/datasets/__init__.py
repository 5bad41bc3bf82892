"""The published data sets: from their owners' label files to lists (``tdn prepare``).

Each has a module that reads its label files; ``official`` lists them, ``preparing`` does the work.
"""
