"""The training run: loop, step, schedules, optimizers, precision, processes, run folder, log."""
