"""Published accuracies against measured ones (``tdn verify``).

``claims`` are what is published, ``planning`` says which can be measured here, ``verifying``
measures and judges them, and ``report`` tells it.
"""
