"""The training run.

``trainer`` is the run from the first step to the last, ``build`` makes everything it consists of,
``step`` is one step, ``state`` where a run is, ``validation`` measures in between. ``processes``
are those that ``torchrun`` starts, and how they talk, fail and end together; ``watching`` ends what
cannot go on. ``optimizing`` has optimizers and learning rates, ``saving`` the run folder and its
checkpoints, ``reporting`` what a run says, and ``extras`` what the published recipes do without.
"""
