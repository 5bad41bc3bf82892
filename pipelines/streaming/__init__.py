"""Running a graph: batches made ahead, in order, within the memory, and whom a failure is due to.

``stream`` runs it, ``memory`` says beforehand what that takes, ``faults`` finds the file for which
a batch failed.
"""
