from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tdn.errors import UserError
from tdn.preflight import roll_call
from tdn.preflight.cluster import Cluster
from tdn.preflight.roll_call import AbsenceError, call


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def meet(*clusters, wait=5.0, last_call=0.5):
    """What becomes of each node: its roll, or the error."""

    def come(cluster):
        try:
            return call(cluster, wait, lambda _: None, last_call)
        except UserError as error:
            return error

    with ThreadPoolExecutor(len(clusters)) as threads:
        return list(threads.map(come, clusters))


def test_a_node_that_is_alone():
    (roll,) = meet(Cluster())
    assert roll.is_first
    assert roll.nodes == 1
    assert roll.port > 0


def test_nodes_take_places_and_read_the_same_board(port):
    anywhere = Cluster(3, 3, 1, "localhost", port, node=None, keeps_store=None)
    rolls = meet(anywhere, anywhere, anywhere)
    assert sorted(roll.node for roll in rolls) == [0, 1, 2]
    assert len({roll.names for roll in rolls}) == 1
    assert len(set(rolls[0].names)) == 3  # though all are this machine
    rolls[0].board.write("note", "hello")
    assert all(roll.board.read("note", wait=2) == "hello" for roll in rolls)
    assert all(abs(roll.ahead) < 5 for roll in rolls)


def test_fixed_places_are_kept(port):
    fixed = Cluster(2, 2, 1, "localhost", port, node=0, keeps_store=True)
    rolls = meet(fixed, fixed._replace(node=1, keeps_store=False))
    assert [roll.node for roll in rolls] == [0, 1]


def test_a_missing_node_and_who_came(port):
    fixed = Cluster(3, 3, 1, "localhost", port, node=0, keeps_store=True)
    errors = meet(fixed, fixed._replace(node=2, keeps_store=False), wait=0.5)
    assert all(isinstance(error, AbsenceError) for error in errors)
    assert [error.tells for error in errors] == [True, False]
    assert "1 of 3 nodes (number 1)" in str(errors[0])
    assert f"{socket.gethostname()}#0" in str(errors[0])


def test_nodes_that_have_names_go_by_them(port, monkeypatch):
    monkeypatch.setattr(roll_call, "_TELL_AFTER", 0.2)
    first = Cluster(2, 2, 1, "localhost", port, 0, True, names=("gpu7", "gpu9"), name="gpu7")
    rolls = meet(first, first._replace(node=1, keeps_store=False, name="gpu9"))
    assert [roll.names for roll in rolls] == [("gpu7", "gpu9")] * 2
    told = []
    with pytest.raises(AbsenceError, match=r"1 of 2 nodes \(gpu9\)"):
        call(first._replace(port=0), 0.5, told.append)
    assert "gpu9" in told[0]


def test_a_run_that_can_do_without_some(port):
    elastic = Cluster(2, 4, 1, "localhost", port, node=None, keeps_store=None)
    rolls = meet(elastic, elastic)
    assert [roll.nodes for roll in rolls] == [2, 2]


def test_a_first_node_that_does_not_come(port):
    (error,) = meet(Cluster(2, 2, 1, "localhost", port, node=1, keeps_store=False), wait=0.3)
    assert isinstance(error, AbsenceError)
    assert error.tells
    assert f"localhost:{port}" in str(error)
    (error,) = meet(Cluster(2, 2, 1, "no.such.host.invalid", port, None, None), wait=0.3)
    assert "no.such.host.invalid" in str(error)


def test_who_listens_and_never_answers_is_given_up(port, monkeypatch):
    monkeypatch.setattr(roll_call, "_MARGIN", 0.3)
    with socket.create_server(("localhost", 0)) as silent:
        taken = silent.getsockname()[1]
        (error,) = meet(Cluster(2, 2, 1, "localhost", taken, 1, False), wait=0.3)
    assert isinstance(error, AbsenceError)  # it may be the first node, which hangs
    assert f"localhost:{taken}" in str(error)


def test_a_port_that_another_program_has():
    with socket.create_server(("localhost", 0)) as other:
        taken = other.getsockname()[1]
        (error,) = meet(Cluster(2, 2, 1, "localhost", taken, 0, True), wait=0.3)
    assert str(taken) in str(error)


def test_who_is_waited_for_is_told(port, monkeypatch):
    monkeypatch.setattr(roll_call, "_TELL_AFTER", 0.2)
    told = []
    with pytest.raises(AbsenceError):
        call(Cluster(2, 2, 1, "localhost", port, 0, True), 0.5, told.append)
    (text,) = told
    assert socket.gethostname() in text


def test_the_address_of_this_machine():
    assert roll_call._is_here("localhost")
    assert roll_call._is_here("127.0.1.1")
    assert not roll_call._is_here("192.0.2.1")  # set apart for documents
