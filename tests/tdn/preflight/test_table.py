from __future__ import annotations

from tdn.doctor.findings import fail, warn
from tdn.preflight.table import table

NAMES = [f"node{number}" for number in range(20)]
HOT = warn("gpu 3", "is hot", "cool it")
OLD = fail("driver", "is old", "update it")


def lines(found, names=NAMES):
    return table(names, found, ["measured"], 12.3).splitlines()


def test_all_is_well():
    nodes, measured, verdict = lines([])
    assert "node0" in nodes
    assert "12 more" in nodes
    assert "ok" in nodes
    assert measured.strip() == "measured"
    assert "can start" in verdict


def test_what_is_not_right_stands_by_its_node_with_its_remedy():
    text = lines([("node7", HOT), ("node7", OLD), ("node9", HOT)])
    assert "node7" in text[0]
    assert "is hot" in text[0]
    assert "cool it" in text[1]
    assert "is old" in text[2]
    assert "node9" in text[4]
    assert not any("node7" in line or "node9" in line for line in text[6:-1])
    assert "cannot start because of node7;" in text[-1]
    assert "1 warning;" in text[-1]


def test_what_all_have_is_told_once():
    text = lines([(name, HOT) for name in NAMES] + [("", OLD), ("node1", OLD)])
    assert [("hot" in line, "old" in line) for line in text].count((True, False)) == 1
    assert sum("old" in line for line in text) == 1
    assert "all nodes" in text[0]


def test_a_single_machine_goes_by_its_name():
    text = lines([("node0", HOT)], NAMES[:1])
    assert text[0].split()[0] == "node0"
    assert len(text) == 4
