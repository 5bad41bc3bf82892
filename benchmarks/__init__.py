"""What is fast, and by how much: each file in this folder is a command.

``all`` runs the others, ``charts`` makes pages of what they found, ``compare`` says what got worse
and ``gate`` refuses it. A folder for each kind of measurement: ``operations`` (kernels), ``clips``
(the loader), ``steps`` (training steps, from memory and from files), ``processes`` (several of
them). ``harness`` is what all of them use, ``pages`` turns results into tables and pictures, and
``results`` keeps what was measured, with device, versions and commit.
"""
