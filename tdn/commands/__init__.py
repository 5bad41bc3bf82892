"""The subcommands of ``tdn``, one module each: options, help, and one call.

What several of them share is in ``checks``, ``configuration`` and ``trained_options`` (of commands
that use a trained network). Heavy libraries are imported when a command runs, not for its help.
"""
