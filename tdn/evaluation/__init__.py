"""Evaluation: the scores of every video, once, and the metrics that follow from them.

``evaluator`` tests a checkpoint: ``collecting`` gathers what the network says of every view,
``partial`` keeps it if the test is interrupted, ``scores`` and ``by_class`` are what follows from
it, and ``results`` writes the files, with the picture of ``confusion``. ``ensemble`` adds up the
scores of several networks. ``certainty`` says how sure an accuracy is.
"""
