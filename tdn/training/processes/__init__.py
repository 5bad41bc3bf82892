"""The processes of a run, on one host or on many: how they meet, talk, fail and end together.

``distributed`` is what the rest of the product sees of them.
"""
