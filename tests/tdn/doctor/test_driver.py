from __future__ import annotations

import stat

import pytest

from tdn.doctor import driver, numa
from tdn.doctor.driver import Driver, Gpu, judge, read_report
from tdn.doctor.gpu_health import Health
from tdn.doctor.kernel_log import Xid
from tdn.doctor.numa import Places, read_cores

H100 = Gpu(
    name="NVIDIA H100 80GB HBM3",
    bus="0000:3b:00.0",
    memory=81559,
    used=0,
    mig=False,
    instances=0,
    compute_mode="Default",
    errors=0,
    recovery="None",
)
MACHINE = Driver("580.159.04", (H100, H100), cards=2, visible=True)

REPORT = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>580.159.04</driver_version>
  <attached_gpus>2</attached_gpus>
  <gpu id="00000000:3B:00.0">
    <product_name>NVIDIA H100 80GB HBM3</product_name>
    <mig_mode><current_mig>Disabled</current_mig></mig_mode>
    <mig_devices>None</mig_devices>
    <gpu_recovery_action>Reset</gpu_recovery_action>
    <fb_memory_usage><total>81559 MiB</total><used>1024 MiB</used></fb_memory_usage>
    <compute_mode>Exclusive_Process</compute_mode>
    <ecc_errors><volatile>
      <sram_correctable>7</sram_correctable>
      <sram_uncorrectable_parity>1</sram_uncorrectable_parity>
      <dram_uncorrectable>2</dram_uncorrectable>
    </volatile><aggregate><dram_uncorrectable>90</dram_uncorrectable></aggregate></ecc_errors>
  </gpu>
  <gpu id="00000000:5E:00.0">
    <product_name>NVIDIA A100-SXM4-40GB</product_name>
    <mig_mode><current_mig>Enabled</current_mig></mig_mode>
    <mig_devices>
      <mig_device><index>0</index></mig_device><mig_device><index>1</index></mig_device>
    </mig_devices>
    <fb_memory_usage><total>40960 MiB</total><used>N/A</used></fb_memory_usage>
    <ecc_errors><volatile><dram_uncorrectable>N/A</dram_uncorrectable></volatile></ecc_errors>
  </gpu>
</nvidia_smi_log>
"""


def of_gpu(**changes):
    version, finding = judge(MACHINE._replace(gpus=(H100._replace(**changes),)))
    assert version.level == "ok"
    return finding


def test_a_machine_with_gpus():
    findings = list(judge(MACHINE))
    assert [finding.level for finding in findings] == ["ok"] * 3
    assert [finding.name for finding in findings] == ["driver", "gpu 0", "gpu 1"]
    assert "H100" in findings[1].found
    assert "80 GiB" in findings[1].found


def test_a_machine_without_is_a_valid_one():
    (finding,) = judge(Driver())
    assert finding.level == "warn"
    assert "nvidia-smi" in finding.remedy


def test_a_gpu_without_a_driver():
    (finding,) = judge(Driver(cards=1))
    assert finding.level == "warn"
    assert "no driver" in finding.found
    assert "nvidia-driver-580" in finding.remedy


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("535.104.05", "fail"),
        ("570.211.01", "fail"),
        ("580.14", "fail"),
        ("580.65.06", "ok"),
        ("590.1", "ok"),
    ],
)
def test_the_driver_is_new_enough_for_cuda_13(version, level):
    finding = next(judge(MACHINE._replace(version=version)))
    assert finding.level == level
    assert version in finding.found
    assert ("nvidia-driver-580" in finding.remedy) == (level == "fail")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "reboot"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "modprobe",
        ),
        ("No devices were found", "dmesg"),
        ("there is no nvidia-smi", "NVIDIA_DRIVER_CAPABILITIES"),
    ],
)
def test_a_driver_that_does_not_answer(said, remedy):
    (finding,) = judge(Driver(problem=said, visible=True))
    assert finding.level == "fail"
    assert said in finding.found
    assert remedy in finding.remedy
    (finding,) = judge(Driver(problem=said))  # tools without a GPU: the CPU does
    assert finding.level == "warn"


@pytest.mark.parametrize(
    ("changes", "level", "remedy"),
    [
        ({"compute_mode": "Prohibited"}, "fail", "-c DEFAULT"),
        ({"compute_mode": "Exclusive_Process"}, "ok", ""),
        ({"recovery": "Reset"}, "fail", "--gpu-reset"),
        ({"recovery": "Reboot"}, "fail", "reboot"),
        ({"recovery": ""}, "ok", ""),
        ({"mig": True}, "fail", "-lgip"),
        ({"mig": True, "instances": 7}, "ok", ""),
        ({"errors": 3}, "warn", "--gpu-reset"),
        ({"used": 70000}, "warn", "nvidia-smi -i 0"),
        ({"used": 2000}, "ok", ""),
    ],
)
def test_the_state_of_a_gpu(changes, level, remedy):
    finding = of_gpu(**changes)
    assert finding.level == level
    assert finding.remedy == "" if not remedy else remedy in finding.remedy


def test_instances_are_told():
    assert "7 MIG" in of_gpu(mig=True, instances=7).found


def test_reading_what_nvidia_smi_reports():
    seen = read_report(REPORT)
    assert seen.version == "580.159.04"
    whole, divided = seen.gpus
    assert whole == H100._replace(
        used=1024, compute_mode="Exclusive_Process", errors=3, recovery="Reset"
    )
    assert (divided.mig, divided.instances, divided.bus) == (True, 2, "0000:5e:00.0")
    assert (divided.used, divided.errors, divided.recovery) == (0, 0, "")
    assert read_report("No devices were found") is None


def test_nvidia_smi_is_asked(tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n[ \"$*\" = '-q -x' ] && cat <<'END'\n{REPORT}END\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert driver.look().gpus == read_report(REPORT).gpus
    command.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Unknown Error'\nexit 255\n")
    assert "Unknown Error" in driver.look().problem


def test_all_that_is_seen_is_judged(monkeypatch):
    """Links, faults in the kernel's log, clocks that are held back, cores far from a GPU."""
    hot = H100._replace(health=Health(slowed=("heat",)))
    monkeypatch.setattr(driver, "look", lambda: MACHINE._replace(gpus=(hot, H100)))
    monkeypatch.setattr(driver.nvlink, "look", lambda: ((25e9, 25e9), (25e9,)))
    monkeypatch.setattr(driver.kernel_log, "look", lambda: [Xid(H100.bus, 79, 1.0)])
    near = ((0, frozenset({0})), (1, frozenset({2})))
    monkeypatch.setattr(driver.numa, "look", lambda _: Places(2, near, frozenset({0})))
    told = [(f.name, f.found) for f in driver.check() if f.level != "ok"]
    words = [("gpu 0", "heat"), ("gpu 1 nvlink", "1 links"), ("gpu 0", "Xid 79")]
    assert [name for name, _ in told[:-1]] == [name for name, _ in words]
    assert all(word in found for (_, found), (_, word) in zip(told, words, strict=False))
    assert "gpu 1" in told[-1][1]
    monkeypatch.setattr(driver.kernel_log, "look", lambda: None)
    assert "Xids" in [finding.name for finding in driver.check()]
    monkeypatch.setattr(driver, "look", Driver)
    assert "Xids" not in [finding.name for finding in driver.check()]  # without GPUs


def test_cores_near_a_gpu(tmp_path):
    (tmp_path / "devices" / "a").mkdir(parents=True)
    (tmp_path / "devices" / "a" / "local_cpulist").write_text("0-3,8\n")
    for node in ("node0", "node1"):
        (tmp_path / node).mkdir()
    places = numa.look(["unknown", "a"], tmp_path / "devices", tmp_path)
    assert places.near == ((1, frozenset({0, 1, 2, 3, 8})),)
    assert places.nodes == 2
    assert read_cores("") == frozenset()


def test_cores_at_another_socket():
    places = Places(2, ((0, frozenset({0, 1})), (1, frozenset({2, 3}))), frozenset({0, 1}))
    (finding,) = numa.judge(places)
    assert finding.level == "warn"
    assert "gpu 1" in finding.found
    assert "--gpu-bind" in finding.remedy
    for cores in (range(4), (1, 2)):
        (finding,) = numa.judge(places._replace(cores=frozenset(cores)))
        assert finding.level == "ok"
    assert list(numa.judge(places._replace(nodes=1))) == []
    assert list(numa.judge(places._replace(near=()))) == []
