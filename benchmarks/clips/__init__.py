"""The loader beside its peers: videos and pictures to batches of clips."""
