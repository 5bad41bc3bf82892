"""The manifests fit the published schemas, and the product that they start."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tdn
from tdn.cli import main
from tdn.commands import train
from tdn.commands.configuration import read_config
from tdn.config import Config
from tdn.provenance import sha256
from tests.launch.manifests import (
    LAUNCH,
    ROOT,
    SCHEMAS,
    TRAININGS,
    container,
    kubernetes_errors,
    manifests,
    pod,
    skypilot_errors,
    task,
)

GIB = {"Gi": 1, "Ti": 1024}


def test_the_schemas_are_as_they_were_published():
    """Made by make.py from packages whose sums stand beside, and not bent by hand."""
    rows = re.findall(r"\| ([0-9a-f]{64}) \| (\S+) \|", (SCHEMAS / "README.md").read_text())
    told = {name: digest for digest, name in rows}
    for path in SCHEMAS.glob("*.json"):
        assert sha256(path) == told[path.name]


@pytest.mark.parametrize("name", [*TRAININGS, "runtime", "storage"])
def test_a_manifest_fits_the_published_schema(name):
    found = {kind: kubernetes_errors(one) for kind, one in manifests(name).items()}
    assert not any(found.values()), found


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), {"gracePeriod": 210}),
        ((), {"terminationGracePeriodSeconds": "210"}),
        ((), {"restartPolicy": "Sometimes"}),
        (("securityContext",), {"runsAsUser": 1000}),
        (("containers", 0, "livenessProbe"), {"period": 60}),
        (("containers", 0, "volumeMounts", 0), {"mountPath": None}),
        (("volumes", 2, "emptyDir"), {"sizeLimit": "64 GB"}),
    ],
)
def test_a_mistake_in_the_pods_does_not(monkeypatch, name, place, value):
    objects = manifests("runtime" if name == "trainjob" else name)
    monkeypatch.setattr("tests.launch.manifests.manifests", lambda _: objects)
    part = pod(name)
    for key in place:
        part = part[key]
    part |= value
    assert any(kubernetes_errors(one) for one in objects.values())


@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [
        ("trainjob", "TrainJob", "podSpecOverrides"),
        ("runtime", "TrainingRuntime", "mlPolicies"),
        ("pytorchjob", "PyTorchJob", "pytorchReplicaSpec"),
        ("storage", "tdn-data", "accessMode"),
    ],
)
def test_an_unknown_field_or_another_version_does_not(name, kind, field):
    manifest = manifests(name)[kind]
    unknown = copy.deepcopy(manifest)
    unknown["spec"][field] = []
    assert any(field in error for error in kubernetes_errors(unknown))
    assert kubernetes_errors({**manifest, "apiVersion": "v2"})
    assert kubernetes_errors({key: manifest[key] for key in ("apiVersion", "kind", "metadata")})


def test_the_task_fits_skypilots_schema():
    assert skypilot_errors(task()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": 2},
        {"num_nodes": "two"},
        {"resources": {"gpus": 8}},
        {"resources": {"disk_size": [512]}},
        {"file_mounts": {"/runs": {"mode": "NFS"}}},
    ],
)
def test_a_mistake_in_the_task_does_not(change):
    assert skypilot_errors({**task(), **change})


def test_examples_of_another_recipe_write_into_another_folder():
    text = (LAUNCH / "skypilot.yaml").read_text()
    head = text.partition("\nname:")[0].replace("\\\n#", "")
    examples = [line for line in head.splitlines() if "CONFIG=" in line]
    assert examples
    for line in examples:
        recipe = re.search(r"CONFIG=configs/(\w+)\.yaml", line)[1]
        assert f"RUN={recipe}" in line
    assert task()["envs"]["RUN"] in task()["envs"]["CONFIG"]


@pytest.mark.parametrize("part", ["setup", "run"])
def test_the_tasks_scripts_are_clean(part):
    shellcheck = [Path(sys.prefix) / "bin" / "shellcheck", "--shell=bash", "-"]
    done = subprocess.run(shellcheck, input=task()[part], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def words(name: str) -> list[str]:
    """What `tdn` is called with."""
    if name != "skypilot":
        return container(name)["args"]
    command = re.search(r"launch/node.sh (.*)", task()["run"].replace("\\\n", ""))[1]
    for variable, value in task()["envs"].items():
        command = command.replace(f"${variable}", value)
    return command.replace('"', "").split()


@pytest.fixture
def called(monkeypatch) -> list[Config]:
    """The configurations that `tdn train` is called with."""
    found: list[Config] = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(train, "run", lambda given: found.append(read_config(given)) or 0)
    return found


@pytest.mark.parametrize("name", [*TRAININGS, "skypilot"])
def test_the_command_is_one_that_trains(called, name):
    assert main(words(name)) == 0
    [config] = called
    assert config.output.startswith("/runs/")
    assert config.training.stall_exit
    assert config.data.train_list.startswith("data/")  # what is mounted
    assert config.model.pretrained.startswith("data/")


@pytest.mark.parametrize("name", TRAININGS)
def test_a_run_has_time_to_save(called, name):
    assert main(words(name)) == 0
    node = (LAUNCH / "node.sh").read_text()
    torchrun = int(re.search(r"--shutdown-timeout=(\d+)", node)[1])
    assert called[0].training.stop_timeout < torchrun
    assert torchrun + 30 <= pod(name)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", TRAININGS)
def test_volumes_are_where_the_product_looks_for_them(name):
    mounts = {one["mountPath"]: one for one in container(name)["volumeMounts"]}
    volumes = {one["name"]: one for one in pod(name)["volumes"]}
    folder = re.findall(r"^WORKDIR (.+)$", (LAUNCH / "Dockerfile").read_text(), re.MULTILINE)[-1]
    data, runs = mounts[f"{folder}/data"], mounts["/runs"]
    assert data["readOnly"]
    claims = [volumes[mount["name"]]["persistentVolumeClaim"] for mount in (data, runs)]
    assert [claim["claimName"] for claim in claims] == list(manifests("storage"))
    assert claims[0]["readOnly"]
    modes = [one["spec"]["accessModes"] for one in manifests("storage").values()]
    assert modes == [["ReadWriteMany"]] * 2  # somebody fills the first
    assert {"/tmp", "/scratch"} < set(mounts)  # the root is read-only


@pytest.mark.parametrize("name", TRAININGS)
def test_shared_memory_is_memory_and_counts_as_such(name):
    [mount] = [one for one in container(name)["volumeMounts"] if one["mountPath"] == "/dev/shm"]
    [volume] = [one for one in pod(name)["volumes"] if one["name"] == mount["name"]]
    limits = container(name)["resources"]["limits"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert gibibytes(volume["emptyDir"]["sizeLimit"]) * 4 < gibibytes(limits["memory"])
    assert container(name)["resources"]["requests"] == limits
    assert gibibytes(volume["emptyDir"]["sizeLimit"]) == 8 * limits["nvidia.com/gpu"]


def gibibytes(amount: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", amount).groups()
    return int(number) * GIB[unit]


def test_the_image_is_the_same_everywhere():
    images = {container(name)["image"] for name in TRAININGS}
    recipe = (LAUNCH / "Dockerfile").read_text()
    assert images == set(re.findall(r"\S+/tdn:\S+", recipe))
    assert {image.rpartition(":")[2] for image in images} == {tdn.__version__}
    user = re.search(r"^USER (\d+):(\d+)$", recipe, re.MULTILINE).groups()
    for name in TRAININGS:
        security = pod(name)["securityContext"]
        assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user
        assert security["runAsNonRoot"]


def test_the_image_is_built_of_all_that_the_product_is_made_of():
    recipe = (LAUNCH / "Dockerfile").read_text()
    homes = re.search(r"HOMES = {(.+)}", (ROOT / "setup.py").read_text())[1]
    needed = {*re.findall(r': "(\w+)"', homes), "README.md"}  # which setup.py reads
    needed |= set(re.search(r"&& mv (.+) /opt/tdn/", recipe)[1].split())
    needed |= set(re.search(r"^COPY (.+) \./$", recipe, re.MULTILINE)[1].split())
    ignored, *allowed = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] in "*!"
    ]
    assert ignored == "*"
    assert {f"!{name}" for name in needed} <= set(allowed)


@pytest.mark.parametrize("name", TRAININGS)
def test_pods_start_and_are_looked_after_by_scripts_of_the_image(name):
    probe = container(name)["livenessProbe"]
    for [script] in (container(name)["command"], probe["exec"]["command"]):
        assert os.access(ROOT / script, os.X_OK)
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 120


@pytest.mark.parametrize("name", TRAININGS)
def test_variables_are_known_and_none_is_the_operators(name):
    own = {
        "PET_NNODES",
        "PET_NPROC_PER_NODE",
        "PET_NODE_RANK",
        "PET_MASTER_ADDR",
        "PET_MASTER_PORT",
    }
    variables = {one["name"] for one in container(name)["env"]} - {"HOME"}
    assert not variables & own
    packages = (ROOT / "tdn", ROOT / "pipelines")
    sources = [*LAUNCH.rglob("*.sh"), *(path for home in packages for path in home.rglob("*.py"))]
    known = "".join(path.read_text() for path in sources)
    assert [variable for variable in variables if variable not in known] == []
    file = "runtime" if name == "trainjob" else name
    text = (LAUNCH / "kubernetes" / f"{file}.yaml").read_text()
    example = re.search(r"# - {name: (\w+), value", text)[1]
    assert example in (LAUNCH / "environment.sh").read_text()


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (2, "FailJobSet"),
        (os.EX_TEMPFAIL, "RestartJobSetAndIgnoreMaxRestarts"),
        (1, "RestartJobSet"),  # of the ten that there may be
        (20, "RestartJobSet"),
    ],
)
def test_what_happens_after_a_pod_has_ended(status, action):
    """As the job's controller and the set's decide: by status, and by what it makes of that."""
    runtime = manifests("runtime")["TrainingRuntime"]["spec"]["template"]["spec"]
    job = runtime["replicatedJobs"][0]["template"]["spec"]
    [rule] = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["operator"]) == ("FailJob", "In")
    assert rule["onExitCodes"]["containerName"] == container("trainjob")["name"]
    assert job["backoffLimit"] == 0
    assert pod("trainjob")["restartPolicy"] == "Never"  # without it the policy is refused
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if status in rule["onExitCodes"]["values"]:
        reason = "PodFailurePolicy"
        message = f"Container node for pod default/tdn-node-0-1 failed with exit code {status} "
        message += "matching FailJob rule at index 0"
    rules = [
        one["action"]
        for one in runtime["failurePolicy"]["rules"]
        if reason in one["onJobFailureReasons"]
        and any(re.search(text, message) for text in one["onJobFailureMessagePatterns"])
    ]
    assert [*rules, "RestartJobSet"][0] == action


def test_pods_of_both_operators_are_the_same_but_for_what_the_operators_ask():
    pods = {name: copy.deepcopy(pod(name)) for name in TRAININGS}
    containers = {name: one.pop("containers")[0] for name, one in pods.items()}
    assert pods["trainjob"].pop("restartPolicy") == "Never"  # the other's is its replicas'
    assert pods["trainjob"] == pods["pytorchjob"]
    own = {"PET_RDZV_ID", "PET_MAX_RESTARTS", "PET_LOCAL_ADDR"}
    for one in containers.values():
        one["env"] = [variable for variable in one["env"] if variable["name"] not in own]
        one.pop("name")
    for key in ("args", "resources"):  # of a TrainJob, which it has beside its pods
        assert containers["pytorchjob"].pop(key) == container("trainjob")[key]
    containers["pytorchjob"].pop("ports")
    assert containers["trainjob"] == containers["pytorchjob"]


def test_pods_that_are_left_over_give_their_gpus_back():
    spec = manifests("pytorchjob")["PyTorchJob"]["spec"]
    assert spec["runPolicy"]["cleanPodPolicy"] == "Running"


def test_the_pod_that_fills_the_volume_is_one():
    """The commands of storage.yaml as a shell reads them: the pod's words are JSON that fits."""
    text = (LAUNCH / "kubernetes" / "storage.yaml").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("#   ")]
    command = "\n".join(lines).partition("--overrides=")[2].partition("\nkubectl wait")[0]
    words = subprocess.check_output(["bash", "-c", f"printf %s {command}"], text=True)
    spec = json.loads(words)["spec"]
    template = {"metadata": {}, "spec": {**pod("pytorchjob"), **spec}}
    job = copy.deepcopy(manifests("pytorchjob")["PyTorchJob"])
    job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"] = template
    assert kubernetes_errors(job) == []
    [volume] = spec["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] in manifests("storage")
    assert spec["securityContext"].items() <= pod("trainjob")["securityContext"].items()


def test_the_job_and_its_pods_belong_together():
    job, runtime = manifests("trainjob")["TrainJob"], manifests("runtime")["TrainingRuntime"]
    name = runtime["metadata"]["name"]
    assert job["spec"]["runtimeRef"] == {"kind": runtime["kind"], "name": name}
    [group] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    label = group["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"]
    assert (label, group["name"], container("trainjob")["name"]) == ("trainer", "node", "node")


def test_the_legacy_operator_finds_what_it_looks_for():
    spec = manifests("pytorchjob")["PyTorchJob"]["spec"]
    elastic, worker = spec["elasticPolicy"], spec["pytorchReplicaSpecs"]["Worker"]
    assert elastic["minReplicas"] <= elastic["maxReplicas"] == worker["replicas"]
    [port] = container("pytorchjob")["ports"]
    assert port == {"name": "pytorchjob-port", "containerPort": elastic["rdzvPort"]}
    assert container("pytorchjob")["name"] == "pytorch"
