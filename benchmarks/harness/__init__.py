"""What all benchmarks use: clocks, rows of results, and what ours is measured against.

``resident_step`` and ``resident_run`` train on a batch that lies in memory. ``literal_tdn`` is the
released code's arithmetic, written down again; ``yardsticks`` are the gate's, frozen.
"""
