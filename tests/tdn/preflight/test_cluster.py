from __future__ import annotations

import os

import pytest

from tdn.errors import UserError
from tdn.preflight.cluster import Cluster, from_environment


def read(gpus=0, **variables):
    return from_environment(variables, lambda: gpus)


def test_nothing_set_is_a_single_node():
    assert read() == Cluster(processes=1)
    assert read(gpus=8).processes == 8
    assert read(PET_RDZV_ENDPOINT="head:1", PET_NNODES="1") == Cluster()


@pytest.mark.parametrize(
    ("told", "gpus", "processes"),
    [
        ("3", 8, 3),
        ("gpu", 8, 8),
        ("gpu", 0, 1),
        ("auto", 4, 4),
        ("auto", 0, os.cpu_count()),
        ("cpu", 4, os.cpu_count()),
    ],
)
def test_processes_are_counted_as_torchrun_does(told, gpus, processes):
    assert read(gpus, PET_NPROC_PER_NODE=told).processes == processes


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [("head:29500", "head", 29500), ("head", "head", 29400), ("[fd00::1]:29500", "fd00::1", 29500)],
)
def test_nodes_that_meet_at_an_endpoint(endpoint, host, port):
    cluster = read(PET_NNODES="4", PET_RDZV_ENDPOINT=endpoint)
    assert cluster == Cluster(4, 4, 1, host, port, node=None, keeps_store=None)


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [("is_host=1,timeout=5", True), ("timeout=5, is_host=false", False), ("timeout=5", None)],
)
def test_who_keeps_the_store_may_be_told(settings, keeps):
    cluster = read(PET_NNODES="2", PET_RDZV_ENDPOINT="head:1", PET_RDZV_CONF=settings)
    assert cluster.keeps_store is keeps


def test_names_and_places_may_be_told():
    told = {"PET_NNODES": "2", "PET_RDZV_ENDPOINT": "a:1", "TDN_NODE_NAMES": "a,b"}
    first = read(**told, TDN_NODE_PLACE="0")
    assert (first.node, first.keeps_store, first.names, first.name) == (0, True, ("a", "b"), "a")
    second = read(**told, TDN_NODE_PLACE="1", PET_RDZV_CONF="is_host=0")
    assert (second.node, second.keeps_store, second.name) == (1, False, "b")
    assert read(**told | {"PET_NNODES": "1:4"}, TDN_NODE_PLACE="0").names == ("a", "b")
    back = read(TDN_NODE_NAMES="a,b", TDN_NODE_PLACE="1")  # alone: it comes back to a run
    assert (back.most, back.names, back.name) == (1, (), "b")


def test_fixed_places():
    places = {"PET_NNODES": "2", "PET_MASTER_ADDR": "head", "PET_MASTER_PORT": "7"}
    assert read(**places, PET_NODE_RANK="0") == Cluster(2, 2, 1, "head", 7, 0, True)
    assert read(**places, PET_NODE_RANK="1") == Cluster(2, 2, 1, "head", 7, 1, False)


def test_a_number_of_nodes_that_may_change():
    cluster = read(PET_NNODES="2:4", PET_RDZV_ENDPOINT="head:1")
    assert (cluster.fewest, cluster.most) == (2, 4)


@pytest.mark.parametrize(("agent", "keeps"), [("True", False), ("False", True)])
def test_a_process_of_torchrun(agent, keeps):
    set_by_torchrun = {
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "head",
        "MASTER_PORT": "7",
        "TORCHELASTIC_USE_AGENT_STORE": agent,
        "TORCHELASTIC_RESTART_COUNT": "1",
    }
    assert read(**set_by_torchrun) == Cluster(2, 2, 8, "head", 7, 0, keeps, "preflight 1")
    assert not read(**set_by_torchrun | {"GROUP_RANK": "1"}).keeps_store


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PET_NNODES": "two"}, "PET_NNODES"),
        ({"PET_NNODES": "0"}, "PET_NNODES"),
        ({"PET_NPROC_PER_NODE": "all"}, "PET_NPROC_PER_NODE"),
        ({"PET_NNODES": "2"}, "PET_RDZV_ENDPOINT"),
        ({"PET_NNODES": "2", "PET_MASTER_ADDR": "a"}, "PET_NODE_RANK"),
        ({"PET_NNODES": "2", "PET_RDZV_ENDPOINT": "a:70000"}, "PET_RDZV_ENDPOINT"),
        ({"PET_NNODES": "2", "PET_RDZV_ENDPOINT": "a:0"}, "PET_RDZV_ENDPOINT"),
        ({"PET_NNODES": "2", "PET_RDZV_ENDPOINT": ":29655"}, "PET_RDZV_ENDPOINT"),
        ({"TDN_NODE_NAMES": "a,b"}, "TDN_NODE_PLACE"),
        ({"TDN_NODE_NAMES": "a,b", "TDN_NODE_PLACE": "2"}, "TDN_NODE_PLACE"),
        (
            {"PET_NNODES": "3", "TDN_NODE_NAMES": "a,b", "TDN_NODE_PLACE": "0"},
            "TDN_NODE_NAMES",
        ),
        (
            {
                "PET_NNODES": "2",
                "PET_MASTER_ADDR": "a",
                "PET_NODE_RANK": "0",
                "PET_MASTER_PORT": "65536",
            },
            "PET_MASTER_PORT",
        ),
        ({"PET_NNODES": "2", "PET_MASTER_ADDR": "a", "PET_NODE_RANK": "2"}, "PET_NODE_RANK"),
    ],
)
def test_mistakes_name_the_variable(variables, named):
    with pytest.raises(UserError, match=named):
        read(**variables)
