"""Whether the nodes of a run can train together: each examined, their links measured.

On every node one process (``command``) meets the others in a store (``roll_call``), examines its
machine (``node``) and starts a worker per GPU (``workers``), which measures devices and links
(``worker``, ``devices``, ``links``). The first node compares what all have found (``facts``,
``slow``, ``speeds``), tells it (``table``) and writes it down (``report``).

Nothing waits without a limit: whoever does not answer is named.
"""
