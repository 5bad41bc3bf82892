"""What the published recipes do without, each by a key of its own: ``training.ema``, and so on."""
