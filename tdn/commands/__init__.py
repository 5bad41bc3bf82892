"""The subcommands of ``tdn``, one module each."""
