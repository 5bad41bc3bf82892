"""Look at what the network is fed, as pictures."""

from __future__ import annotations

HELP = "look at what the network is fed, as pictures"
COMMANDS = ("batch",)
