"""The NVIDIA driver, and the GPUs as it sees them: ``nvidia-smi`` says it, without any library."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tdn.doctor import gpu_health, gpus, kernel_log, numa, nvlink
from tdn.doctor.findings import Finding, fail, ok, warn
from tdn.doctor.gpu_health import Health

OLDEST = (580, 65)
"""Driver that CUDA 13 needs, on Linux (NVIDIA's release notes): torch and DALI are built for it."""
_UPDATE = (
    "sudo apt-get install nvidia-driver-580 (or newer, from your system's packages) and restart "
    "the machine; for a container, on its host"
)


class Gpu(NamedTuple):
    """A GPU as the driver sees it."""

    name: str
    bus: str
    """Its place on the PCI bus, as in /sys/bus/pci/devices."""
    memory: int
    """MiB in all; 0 where the driver does not say."""
    used: int
    """MiB that programs hold; 0 where the driver does not say, as of a divided GPU."""
    mig: bool
    """Whether it is divided into instances (MIG)."""
    instances: int
    """How many there are."""
    compute_mode: str
    """Which processes it lets in: Default, Exclusive_Process, Prohibited."""
    errors: int
    """Uncorrected errors of its memory since the driver was loaded."""
    recovery: str
    """What the driver says is to be done: "None", "Reset", "Reboot", ...; empty in old ones."""
    health: Health = Health()
    """What makes it slow, or about to fail."""


class Driver(NamedTuple):
    """What was seen."""

    version: str = ""
    """Such as "580.65.06"; empty where no driver is loaded."""
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    """What nvidia-smi says instead of showing GPUs."""
    cards: int = 0
    """NVIDIA's graphics cards on the PCI bus, with or without a driver."""
    visible: bool = False
    """Whether processes here see a GPU's device file."""


def look() -> Driver:
    """Ask the driver."""
    version = _loaded_version()
    command = shutil.which("nvidia-smi")
    cards, visible = _cards(), gpus.is_present()
    if command is None:
        problem = "there is no nvidia-smi" if visible else ""
        return Driver(version, problem=problem, cards=cards, visible=visible)
    done = subprocess.run([command, "-q", "-x"], capture_output=True, text=True, check=False)
    seen = read_report(done.stdout) if done.returncode == 0 else None
    if seen is None:
        said = (done.stdout + done.stderr).strip()
        return Driver(version, problem=said or "no answer", cards=cards, visible=visible)
    return seen._replace(cards=cards, visible=visible)


def _loaded_version() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found[0] if found else ""


def _cards() -> int:
    count = 0
    for device in Path("/sys/bus/pci/devices").glob("*"):
        vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        count += vendor == "0x10de" and kind.startswith("0x03")
    return count


def read_report(text: str) -> Driver | None:
    """Driver and GPUs from what ``nvidia-smi -q -x`` prints; None where that is something else."""
    try:
        report = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    found = [_gpu(element) for element in report.findall("gpu")]
    return Driver(report.findtext("driver_version", "").strip(), tuple(found))


def _gpu(element: ElementTree.Element) -> Gpu:
    def text(path: str) -> str:
        return (element.findtext(path) or "").strip()

    def number(words: str) -> int:
        found = re.match(r"\d+", words)  # else "N/A"
        return int(found[0]) if found else 0

    volatile = element.find("ecc_errors/volatile")
    errors = [] if volatile is None else [e for e in volatile if "uncorrectable" in e.tag]
    return Gpu(
        name=text("product_name"),
        bus=element.get("id", "").lower()[-12:],  # of the domain's eight digits, sysfs has four
        memory=number(text("fb_memory_usage/total")),
        used=number(text("fb_memory_usage/used")),
        mig=text("mig_mode/current_mig") == "Enabled",
        instances=len(element.findall("mig_devices/mig_device")),
        compute_mode=text("compute_mode"),
        errors=sum(number((e.text or "").strip()) for e in errors),
        recovery=text("gpu_recovery_action"),
        health=gpu_health.read(element),
    )


def check() -> Iterator[Finding]:
    """Look at the driver and the GPUs."""
    driver = look()
    yield from judge(driver)
    buses = [gpu.bus for gpu in driver.gpus]
    if buses:
        yield from nvlink.judge(nvlink.look())
        yield from kernel_log.judge(kernel_log.look(), buses, kernel_log.seconds_since_start())
    yield from numa.judge(numa.look(buses))


def judge(driver: Driver) -> Iterator[Finding]:
    """What to say of the driver and the GPUs."""
    if driver.problem:
        yield _broken(driver)
    elif driver.version and driver.gpus:
        yield _version(driver.version)
        for number, gpu in enumerate(driver.gpus):
            yield _judge_gpu(number, gpu)
            yield from gpu_health.judge(number, gpu.health)
    elif driver.cards:
        count = f"{driver.cards} NVIDIA GPU{'s' if driver.cards > 1 else ''}"
        yield warn("gpu", f"{count} on the bus, but no driver is loaded: the CPU is used", _UPDATE)
    else:
        yield warn(
            "gpu",
            "none: everything runs on the CPU, which does for small data",
            "if there is one, nvidia-smi must list it: docker run --gpus all, or "
            "sbatch --gpus-per-node 1",
        )


def _broken(driver: Driver) -> Finding:
    said = driver.problem.lower()
    if "version mismatch" in said:
        remedy = "sudo reboot: the driver was updated while it was loaded"
    elif "no nvidia-smi" in said:
        remedy = "start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    elif "no devices were found" in said:
        remedy = "sudo dmesg | grep -i -e nvrm -e xid; then sudo reboot"
    else:
        remedy = f"sudo modprobe nvidia; where that fails: {_UPDATE}"
    level = fail if driver.visible or driver.cards else warn
    return level("driver", driver.problem, remedy)


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return fail("driver", f"{version}, but CUDA 13 needs {oldest} or newer", _UPDATE)
    return ok("driver", f"{version} (CUDA 13)")


def _judge_gpu(number: int, gpu: Gpu) -> Finding:
    name = f"gpu {number}"
    found = f"{gpu.name}, {gpu.memory / 1024:.0f} GiB"
    if gpu.mig:
        found += f", divided into {gpu.instances} MIG instances"
    if gpu.compute_mode == "Prohibited":
        return fail(name, f"{found}: lets no process in", f"sudo nvidia-smi -i {number} -c DEFAULT")
    if gpu.recovery not in ("", "None", "N/A"):
        todo = gpu.recovery.lower()
        remedy = "sudo reboot" if "reboot" in todo else f"sudo nvidia-smi --gpu-reset -i {number}"
        return fail(name, f"{found}: the driver asks for a {todo}", remedy)
    if gpu.mig and not gpu.instances:
        remedy = f"sudo nvidia-smi mig -i {number} -lgip shows what can be made"
        return fail(name, f"{found}: there is nothing to compute on", remedy)
    if gpu.errors:
        remedy = f"sudo nvidia-smi --gpu-reset -i {number}, and have it replaced if they come back"
        return warn(name, f"{found}: {gpu.errors} uncorrected memory errors", remedy)
    if gpu.used > gpu.memory / 2:
        return warn(
            name,
            f"{found}: other programs hold {gpu.used / 1024:.0f} GiB of it",
            f"nvidia-smi -i {number} shows which; end them",
        )
    return ok(name, found)
