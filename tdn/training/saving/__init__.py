"""The run folder and its checkpoints: each file whole at every moment, one run in it at a time."""
