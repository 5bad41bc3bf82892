"""What a data set can be named by: a text list, a CSV file, a folder per class, or tar shards.

``reading`` tells them apart; each has a module of its own, which makes a ``listing``.
"""
