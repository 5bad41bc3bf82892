from __future__ import annotations

import pytest

from tdn.preflight.devices import DeviceSpeed
from tdn.preflight.links import PairTime, SumTime
from tdn.preflight.network import Network
from tdn.preflight.slow import rounds
from tdn.preflight.speeds import Machine, Measured, describe, judge

NAMES = ("a", "b", "c", "d")
H100 = DeviceSpeed("H100", 7e14, 3e12, 5e10)
NETWORK = Network("eth0", ethernet=12.5e9, infiniband=50e9)
SUMS = (SumTime("node", 2, 10**8, 3e-4), SumTime("all", 8, 10**8, 5e-3))


def measured(nodes=4, bytes_per_second=45e9, latency=1e-5, slow=None, **changes):
    """What eight GPUs on four nodes measure; each exchange is measured by both ends."""
    pairs = []
    for pair in (pair for together in rounds(nodes) for pair in together):
        worse = 10 if slow is not None and slow in pair else 1
        one = PairTime(pair, latency * worse**2, bytes_per_second / worse / 2)
        pairs += [one] * 4
    devices = {(node, place): H100 for node in range(nodes) for place in range(2)}
    whole = Measured("nccl", NAMES[:nodes], devices, {}, pairs, SUMS)
    return whole._replace(**changes)


def judged(result, network=NETWORK, nvlink=450e9, pcie=0.0):
    machines = [Machine(network, nvlink, pcie)] * len(result.names)
    return [(name, f.level, f.name) for name, f in judge(result, machines)]


def test_all_as_it_should_be():
    assert judged(measured()) == []
    single = SumTime("all", 2, 10**8, 3e-4)
    assert judged(measured(nodes=1, sums=[single])) == []
    assert judged(measured(nodes=1, sums=[single._replace(seconds=3e-3)])) != []
    assert measured().bandwidth[0, 1] == pytest.approx(45e9)


def test_a_slow_node_is_named():
    assert judged(measured(slow=2)) == [("c", "warn", "network")]


def test_a_slow_node_is_named_by_its_latency_if_that_can_be_noticed():
    far = measured(latency=1e-4)
    slowest = [p._replace(latency=2e-2) if 1 in p.nodes else p for p in far.pairs]
    assert judged(far._replace(pairs=slowest)) == [("b", "warn", "latency")]
    near = [p._replace(latency=2e-4) if 1 in p.nodes else p for p in measured().pairs]
    assert judged(measured(pairs=near)) == []


def test_a_network_that_is_slow_everywhere():
    slow = measured(bytes_per_second=6e9)  # as NCCL is without InfiniBand
    assert judged(slow) == [("", "warn", "network")]
    assert judged(slow, Network("eth0", 12.5e9, 0.0)) == [("", "warn", "network")]
    assert judged(slow, Network("eth0", 10e9, 0.0)) == []
    assert judged(slow, Network()) == []


def test_gloo_is_not_asked_for_what_it_cannot_do():
    slow = measured(bytes_per_second=0.6e9, backend="gloo")
    assert judged(slow) == []
    assert judged(measured(bytes_per_second=0.1e9, backend="gloo")) == [("", "warn", "network")]


@pytest.mark.parametrize(
    "part", ["flops_per_second", "copy_bytes_per_second", "host_bytes_per_second"]
)
def test_a_slow_device_is_named(part):
    devices = dict(measured().devices)
    devices[3, 1] = H100._replace(**{part: 0.5 * getattr(H100, part)})
    assert judged(measured(devices=devices)) == [("d", "warn", "gpu 1")]


def test_devices_are_compared_with_their_like():
    devices = dict(measured().devices)
    devices[3, 0] = devices[3, 1] = DeviceSpeed("T4", 5e13, 2e11, 1e10)
    assert judged(measured(devices=devices)) == []


def test_clocks_that_are_held_back():
    slowed = {1: [[], ["hw_thermal_slowdown"]], 2: [[], []]}
    assert judged(measured(slowed=slowed)) == [("b", "warn", "gpu 1")]


def test_nvlinks_that_are_not_used():
    slow = (SumTime("node", 2, 10**8, 5e-3), SUMS[1])
    assert judged(measured(sums=slow)) == [("", "warn", "links within a node")]
    assert judged(measured(sums=slow), nvlink=0.0) == []


def test_gpus_without_nvlink_are_held_against_their_pcie():
    for seconds, findings in ((1e-2, []), (5e-2, [("", "warn", "links within a node")])):
        sums = (SumTime("all", 2, 10**8, seconds),)
        single = measured(nodes=1, sums=sums)
        assert judged(single, nvlink=0.0, pcie=32e9) == findings
        assert judged(single, nvlink=0.0) == []


def test_copies_to_a_gpu_are_held_against_its_pcie():
    slow = dict.fromkeys(measured().devices, H100._replace(host_bytes_per_second=1e10))
    found = judged(measured(devices=slow), pcie=63e9)
    assert found == [(name, "warn", f"gpu {place}") for name in NAMES for place in range(2)]
    assert judged(measured(devices=slow), pcie=16e9) == []


@pytest.mark.parametrize("network", [NETWORK, Network("eth0")])
def test_a_sum_over_all_that_is_slower_than_its_pairs(network):
    slow = (SUMS[0], SumTime("all", 8, 10**8, 5e-2))
    assert judged(measured(sums=slow), network) == [("", "warn", "sum over all")]
    few = (SUMS[0], SumTime("all", 8, 1000, 1e-4))  # latency, of which there is no doubt
    assert judged(measured(sums=few), network) == []


def test_a_sum_over_all_that_is_slower_than_its_links():
    pairs = measured(bytes_per_second=26e9)  # of 50: they pass
    slow = pairs._replace(sums=(SUMS[0], SumTime("all", 8, 10**8, 9e-3)))
    assert judged(slow) == [("", "warn", "sum over all")]
    assert judged(slow, Network("eth0")) == []


def test_a_sum_is_not_asked_for_more_than_a_node_gives_within():
    within = SumTime("node", 2, 10**8, 5e-2)
    whole = measured(sums=(within, SumTime("all", 8, 10**8, 1e-1)))
    assert judged(whole, nvlink=0.0) == []


def test_what_was_measured_is_told():
    machines = [Machine(NETWORK)] * 4
    between, everyone = describe(measured(), machines)
    assert "45 GB/s" in between
    assert "8 processes" in everyone
    assert len(describe(measured(nodes=1, pairs=[], sums=[]), machines[:1])) == 0
    _, unknown, _ = describe(measured(), [Machine(Network("ens5"))] * 4)
    assert "ens5" in unknown


def test_the_rate_of_a_sum():
    assert SumTime("all", 4, 1000, 2.0).bus_bytes_per_second == 750
