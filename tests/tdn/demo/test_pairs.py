from __future__ import annotations

import numpy as np

from tdn.demo.pairs import read_pairs, within_pair_accuracy
from tdn.pipelines.demo_data.classes import motion_classes

PAIRS = np.array([1, 0, 3, 2])


def test_only_the_pair_matters():
    scores = np.array([[2, 1, 9, 9], [1, 2, 9, 9], [9, 9, 3, 4], [9, 9, 3, 4]], np.float32)
    labels = np.array([0, 0, 3, 2])
    assert within_pair_accuracy(scores, labels, PAIRS) == 50.0
    assert within_pair_accuracy(scores[[0, 2]], labels[[0, 2]], PAIRS) == 100.0
    assert within_pair_accuracy(scores[[1, 3]], labels[[1, 3]], PAIRS) == 0.0


def test_a_network_that_cannot_tell_gets_half():
    scores = np.zeros((8, 4), np.float32)
    assert within_pair_accuracy(scores, np.arange(8) % 4, PAIRS) == 50.0


def test_pairs_are_read_by_label(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text('[{"label": 1, "pair": 0}, {"label": 0, "pair": 1}]')
    assert read_pairs(path).tolist() == [1, 0]


def test_the_demo_configuration_knows_the_mirrored_classes():
    from pathlib import Path

    from tdn.config_loading import load_config
    from tdn.pipelines.demo_data.classes import flip_labels

    config = load_config(Path(__file__).parents[3] / "configs" / "demo.yaml")
    classes = motion_classes(config.model.num_classes)
    assert config.data.flip_labels == flip_labels(classes)
