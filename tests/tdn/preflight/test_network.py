from __future__ import annotations

import socket

import pytest

from tdn.preflight import network
from tdn.preflight.network import Network, ethernet_speed, infiniband_speed

HDR = "200 Gb/sec (4X HDR)"


@pytest.fixture
def adapters(tmp_path):
    for name, state in (("mlx5_0", "4: ACTIVE"), ("mlx5_1", "4: ACTIVE"), ("mlx5_10", "1: DOWN")):
        port = tmp_path / name / "ports" / "1"
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
        (port / "rate").write_text(f"{HDR}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({}, 2),
        ({"NCCL_IB_DISABLE": "1"}, 0),
        ({"NCCL_IB_DISABLE": "0"}, 2),
        ({"NCCL_IB_HCA": "mlx5"}, 2),
        ({"NCCL_IB_HCA": "mlx5_0"}, 1),
        ({"NCCL_IB_HCA": "=mlx5_1,mlx5_10"}, 1),
        ({"NCCL_IB_HCA": "mlx5_0:1"}, 1),
        ({"NCCL_IB_HCA": "mlx5_0:2"}, 0),
        ({"NCCL_IB_HCA": "^mlx5_0"}, 1),
        ({"NCCL_IB_HCA": "^=mlx5_0,mlx5_1"}, 0),
    ],
)
def test_infiniband_that_may_be_used_and_is_connected(adapters, variables, ports):
    assert infiniband_speed(variables, 8, adapters) == ports * 25e9


def test_adapters_for_storage_do_not_count(adapters):
    """NCCL takes the nearest for each GPU, and none that is slower."""
    slower = adapters / "mlx5_1" / "ports" / "1" / "rate"
    assert infiniband_speed({}, 1, adapters) == 25e9
    slower.write_text("100 Gb/sec (4X EDR)\n")
    assert infiniband_speed({}, 8, adapters) == 25e9
    assert infiniband_speed({"NCCL_IB_HCA": "mlx5"}, 8, adapters) == 37.5e9  # as was asked for


@pytest.mark.parametrize(
    ("text", "speed"), [("100000\n", 12.5e9), ("-1\n", 0.0), ("", 0.0), (None, 0.0)]
)
def test_the_speed_of_an_interface(tmp_path, text, speed):
    (tmp_path / "eth0").mkdir()
    if text is not None:
        (tmp_path / "eth0" / "speed").write_text(text)
    assert ethernet_speed("eth0", tmp_path) == speed


def test_gloo_does_not_use_infiniband():
    both = Network("eth0", ethernet=1e9, infiniband=25e9)
    assert (both.expected("nccl"), both.expected("gloo")) == (25e9, 1e9)
    assert both._replace(infiniband=0.0).expected("nccl") == 1e9


def test_the_interface_that_leads_to_a_host(monkeypatch):
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        monkeypatch.delenv(variable, raising=False)
    assert network.look("127.0.0.1", 80, 0).interface == "lo"
    name = socket.if_nameindex()[-1][1]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", name)
    assert network.look("127.0.0.1", 80, 0).interface == name
