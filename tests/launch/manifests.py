"""The manifests in launch/, as a cluster would read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCHEMAS = Path(__file__).parent / "schemas"
TRAININGS = ("trainjob", "pytorchjob")
Object = dict[str, Any]


def manifests(name: str) -> dict[str, Object]:
    """The objects of a file in launch/kubernetes, by kind or, where that is not unique, by name."""
    text = (LAUNCH / "kubernetes" / f"{name}.yaml").read_text()
    objects = list(yaml.safe_load_all(text))
    kinds = [one["kind"] for one in objects]
    unique = len(set(kinds)) == len(kinds)
    return {one["kind"] if unique else one["metadata"]["name"]: one for one in objects}


def pod(name: str) -> Object:
    """The pods' specification of a training."""
    if name == "pytorchjob":
        spec = manifests(name)["PyTorchJob"]["spec"]
        return spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    spec = manifests("runtime")["TrainingRuntime"]["spec"]["template"]["spec"]
    return spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def container(name: str) -> Object:
    """The container of these pods, as the operator makes it: with what the TrainJob says."""
    [found] = pod(name)["containers"]
    if name == "pytorchjob":
        return found
    trainer = manifests(name)["TrainJob"]["spec"]["trainer"]
    return {**found, "args": trainer["args"], "resources": trainer["resourcesPerNode"]}


def task() -> Object:
    """SkyPilot's task."""
    return yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())


def kubernetes_errors(manifest: Object) -> list[str]:
    """What the published schema has against an object, each with its place."""
    schema = json.loads((SCHEMAS / "kubernetes.json").read_text())
    return list(_errors({**schema, "$ref": f"#/$defs/{manifest['kind']}"}, manifest))


def skypilot_errors(task: Object) -> list[str]:
    """What SkyPilot's schema has against a task."""
    return list(_errors(json.loads((SCHEMAS / "skypilot.json").read_text()), task))


def _errors(schema: Object, instance: Object) -> Iterator[str]:
    for error in Draft202012Validator(schema).iter_errors(instance):
        yield f"{error.json_path}: {error.message}"
