"""From gradients to new weights: optimizers, groups of parameters, learning rates."""
