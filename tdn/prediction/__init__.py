"""Prediction: what a trained network sees in a video, as a whole or moment by moment."""
