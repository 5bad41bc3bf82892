from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tdn.doctor import gpu_health
from tdn.doctor.gpu_health import Health, Pcie, read

GPU = """<gpu>
  <performance_state>P0</performance_state>
  <pci><pci_gpu_link_info>
    <pcie_gen><max_link_gen>5</max_link_gen><current_link_gen>4</current_link_gen></pcie_gen>
    <link_widths>
      <max_link_width>16x</max_link_width><current_link_width>8x</current_link_width>
    </link_widths>
  </pci_gpu_link_info></pci>
  <clocks_event_reasons>
    <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
    <clocks_event_reason_hw_slowdown>Active</clocks_event_reason_hw_slowdown>
    <clocks_event_reason_hw_thermal_slowdown>Active</clocks_event_reason_hw_thermal_slowdown>
    <clocks_event_reason_sw_thermal_slowdown>Active</clocks_event_reason_sw_thermal_slowdown>
  </clocks_event_reasons>
  <remapped_rows>
    <remapped_row_pending>Yes</remapped_row_pending>
    <remapped_row_failure>No</remapped_row_failure>
  </remapped_rows>
  <fabric><state>In Progress</state></fabric>
  <processes>
    <process_info><pid>7</pid><type>C</type><process_name>python</process_name>
      <used_memory>4096 MiB</used_memory></process_info>
    <process_info><pid>8</pid><type>G</type><process_name>Xorg</process_name>
      <used_memory>4 MiB</used_memory></process_info>
  </processes>
</gpu>"""


def read_text(text):
    return read(ElementTree.fromstring(text))


def judged(**changes):
    found = gpu_health.judge(3, Health()._replace(**changes))
    return [(finding.level, finding.name, finding.found) for finding in found]


def test_reading_a_report():
    assert read_text(GPU) == Health(
        pcie=Pcie(4, 5, 8, 16),
        awake=True,
        slowed=("heat",),
        rows_pending=True,
        rows_failed=False,
        fabric="In Progress",
        processes=("python (process 7, 4096 MiB)",),
    )


def test_what_a_report_lacks_is_healthy():
    assert read_text("<gpu/>") == Health()
    assert judged() == []
    bare = "<gpu><fabric><state>N/A</state></fabric><processes/></gpu>"
    assert read_text(bare) == Health()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("hw_power_brake_slowdown", ("the power supply",)),
        ("hw_slowdown", ("heat or the power supply",)),
        ("sw_power_cap", ()),
        ("gpu_idle", ()),
    ],
)
def test_reasons_for_lower_clocks_of_older_drivers(reason, words):
    name = f"clocks_throttle_reason_{reason}"
    report = (
        "<gpu><clocks_throttle_reasons>"
        f"<{name}>Active</{name}>"
        "<clocks_throttle_reason_sw_thermal_slowdown>Not Active"
        "</clocks_throttle_reason_sw_thermal_slowdown>"
        "</clocks_throttle_reasons></gpu>"
    )
    assert read_text(report).slowed == words


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({"rows_failed": True, "rows_pending": True}, "fail", "could not be replaced"),
        ({"rows_pending": True}, "warn", "reset"),
        ({"fabric": "In Progress"}, "fail", "In Progress"),
        ({"slowed": ("heat",)}, "warn", "heat"),
        ({"processes": ("python (process 7, 4096 MiB)",)}, "warn", "process 7"),
        ({"processes": tuple("abcdefg")}, "warn", "4 more"),
        ({"pcie": Pcie(5, 5, 8, 16)}, "warn", "8 lanes of 16"),
        ({"pcie": Pcie(1, 5, 16, 16)}, "warn", "generation 1"),
    ],
)
def test_what_is_wrong(changes, level, word):
    ((found_level, name, found),) = judged(**changes)
    assert found_level == level
    assert "gpu 3" in name
    assert word in found


def test_a_sleeping_gpu_may_have_a_slow_link():
    assert judged(pcie=Pcie(1, 5, 16, 16), awake=False) == []
    assert judged(pcie=Pcie(5, 5, 16, 16)) == []


def test_what_pcie_can():
    assert Pcie(1, 4, 16, 16).bytes_per_second == pytest.approx(31.5e9, rel=0.01)
    assert Pcie().bytes_per_second == 0
