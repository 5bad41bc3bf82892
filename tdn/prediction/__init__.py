"""Prediction: what a trained network sees in a video, as a whole or moment by moment.

``predictor`` goes through ``videos`` in ``windows`` and gives ``results``; ``overlay`` writes them
over the video, and ``clips`` takes a single clip of one.
"""
