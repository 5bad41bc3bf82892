"""Look at what the network is fed, and at what it sees, as pictures."""

from __future__ import annotations

HELP = "look at what the network is fed, and at what it sees"
COMMANDS = ("batch", "cam")
