"""From a list of videos to batches of clips: manifest, sampling, augmentation, DALI graph, loader."""
