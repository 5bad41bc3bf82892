"""``tdn train --data.root FOLDER``: from a folder of videos to a trained, tested, exported network.

The way, one module a station: ``request`` (what is asked for; ``class_folders`` glances at it) ->
``folder`` (what is there) -> ``split`` (what is validated) -> ``lists`` (both, in the run folder)
-> ``machine`` and ``weights`` (what there is to train with) -> ``choices`` (settings, each with its
reason) -> ``trial`` (a few steps, by the clock) -> ``run`` (all of it, then training, evaluation,
predictions, export, report) -> ``summary``. ``prepare`` leads through the first stations, or has
``continuing`` look at the settings of a run that is there already.
"""
