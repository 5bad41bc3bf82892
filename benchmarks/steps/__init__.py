"""Training steps: ours beside the released code, from memory and from files, and what they keep."""
