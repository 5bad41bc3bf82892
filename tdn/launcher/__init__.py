"""What starts the processes of a node: ``torchrun`` with true exit statuses.

    python -m tdn.launcher <options of torchrun> -m tdn train --config my.yaml --output runs/mine

``torchrun`` makes every status 1, starts again after a mistake as after a crash, and ends an
orderly stop with a traceback. This ends with the status of the processes, starts again only what
may go better then, and leaves it to them to say why they end. LOGLEVEL=INFO shows what torch does.
"""
