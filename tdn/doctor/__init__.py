"""What of a machine is fit to train on, what is missing, and what to type.

``examination`` lists the checks and carries them out, each in a process of its own (``isolation``).
A module per area looks at the machine, and judges what it saw apart from that: ``judge`` is a pure
function, so that every fault can be tested on a machine that does not have it.
"""
