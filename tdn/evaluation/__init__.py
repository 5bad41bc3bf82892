"""Evaluation: the scores of every video, once, and the metrics that follow from them."""
