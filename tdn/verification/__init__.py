"""Published accuracies against measured ones (``tdn verify``)."""
