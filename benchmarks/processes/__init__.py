"""Training on several processes: what they exchange, and what more of them would give."""
