"""Pictures of what goes into a network, of what it sees, and of the network itself.

``batch`` and ``batch_sheet`` show a batch; ``cam`` finds where a network looks, ``explanation``
compares that with and without its temporal modules, and ``cam_sheet`` shows it; ``architecture``
draws a network, of ``boxes``.
"""
