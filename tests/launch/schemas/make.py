"""Make the JSON Schemas beside this file from the packages that their publishers release.

    python -m venv /tmp/schemas
    /tmp/schemas/bin/pip install kubeflow-trainer-api==2.3.0 kubeflow-training==1.9.4 \\
        skypilot==0.14.1
    /tmp/schemas/bin/python tests/launch/schemas/make.py

What is published is trimmed to what the manifests' kinds reach, without descriptions, defaults and
null; and it is closed: a field that it does not know is an error. Kubernetes drops such a field
without a word, and with it what somebody has meant.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubeflow.training.models as training
import kubeflow_trainer_api.models as trainer
from sky.utils import schemas as sky

HERE = Path(__file__).parent
Schema = dict[str, Any]

MODELS = {
    "TrainJob": trainer.TrainerV1alpha1TrainJob,
    "TrainingRuntime": trainer.TrainerV1alpha1TrainingRuntime,
    "PersistentVolumeClaim": trainer.IoK8sApiCoreV1PersistentVolumeClaim,
}
"""Kinds as pydantic has them, with all that Kubernetes itself defines in them."""
VERSIONS = {
    "TrainJob": "trainer.kubeflow.org/v1alpha1",
    "TrainingRuntime": "trainer.kubeflow.org/v1alpha1",
    "PersistentVolumeClaim": "v1",
    "PyTorchJob": "kubeflow.org/v1",
}
QUANTITY = "IoK8sApimachineryPkgApiResourceQuantity"
PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
PATTERNS = {
    # Pydantic's model of an amount takes any text; this is how the API's pattern reads.
    QUANTITY: {
        "type": ["string", "integer", "number"],
        "pattern": r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
    },
    "IoK8sApimachineryPkgUtilIntstrIntOrString": {"type": ["string", "integer"]},
    "IoK8sApimachineryPkgApisMetaV1Time": {"type": "string"},
}


def kubernetes() -> Schema:
    """One schema of all kinds; a definition for each."""
    definitions: Schema = {}
    for kind, model in MODELS.items():
        schema = model.model_json_schema(by_alias=True)
        definitions |= schema.pop("$defs")
        definitions[kind] = schema
    template = "IoK8sApiCoreV1PodTemplateSpec"
    known = {"V1ObjectMeta": "IoK8sApimachineryPkgApisMetaV1ObjectMeta"}
    known |= {"V1PodTemplateSpec": template, "Quantity": QUANTITY}
    for name in PYTORCH_JOB:
        definitions[name.removeprefix("KubeflowOrgV1")] = swagger_model(name, known)
    definitions = {name: closed(definition) for name, definition in definitions.items()} | PATTERNS
    for kind, api in VERSIONS.items():
        identify(definitions[kind], kind, api)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"kubeflow-trainer-api {version('kubeflow-trainer-api')}, kubeflow-training "
        f"{version('kubeflow-training')}; trimmed and closed by make.py",
        "$defs": reachable(definitions, tuple(VERSIONS)),
    }


PYTORCH_JOB = [
    f"KubeflowOrgV1{name}"
    for name in ("PyTorchJob", "PyTorchJobSpec", "ReplicaSpec", "RunPolicy", "ElasticPolicy")
] + ["KubeflowOrgV1SchedulingPolicy", "KubeflowOrgV1RDZVConf"]


def swagger_model(name: str, known: dict[str, str]) -> Schema:
    """The schema of a model of the legacy package, which has types and says no to a missing one."""
    model = getattr(training, name)
    instance = model.__new__(model)
    instance.local_vars_configuration = training.KubeflowOrgV1RDZVConf().local_vars_configuration
    schema: Schema = {"type": "object", "properties": {}, "required": []}
    for attribute, alias in model.attribute_map.items():
        schema["properties"][alias] = swagger_type(model.openapi_types[attribute], known)
        try:
            setattr(instance, attribute, None)
        except ValueError:
            schema["required"].append(alias)
    return schema


def swagger_type(name: str, known: dict[str, str]) -> Schema:
    """A type as the legacy package writes it, such as dict(str, V1ReplicaSpec)."""
    if found := re.fullmatch(r"dict\(str, (.+)\)", name):
        return {"type": "object", "additionalProperties": swagger_type(found[1], known)}
    if found := re.fullmatch(r"list\[(.+)\]", name):
        return {"type": "array", "items": swagger_type(found[1], known)}
    if name in PLAIN:
        return {"type": PLAIN[name]}
    if name in PYTORCH_JOB or name in known:
        return {"$ref": f"#/$defs/{known.get(name, name.removeprefix('KubeflowOrgV1'))}"}
    return False  # nobody submits it: a job's status, and the metrics of an autoscaler


def closed(schema: Any) -> Any:
    """Without what only explains, without null, and with no other fields than it knows."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
        if len(choices) == 1:
            return closed({**choices[0], "description": schema.get("description")})
    kept: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: closed(field) for name, field in value.items()}
        elif key == "case_insensitive_enum":  # SkyPilot's own word
            kept["enum"] = sorted({spelt for v in value for spelt in (v, v.lower(), v.upper())})
        elif key not in ("description", "title", "default"):
            kept[key] = closed(value)
    if "properties" in kept:
        kept["additionalProperties"] = False
    values = ENUM.findall(str(schema.get("description")))
    if values and kept.get("type") == "string":
        kept["enum"] = values
    return kept


ENUM = re.compile(r"- `\"(\w*)\"`")
"""Kubernetes publishes a field's possible values in its description."""


def identify(definition: Schema, kind: str, api: str) -> None:
    """Kubernetes takes no object without these."""
    properties = definition["properties"]
    definition["required"] = ["apiVersion", "kind", "metadata", "spec"]
    properties |= {"apiVersion": {"const": api}, "kind": {"const": kind}}
    properties.pop("status", None)  # it is Kubernetes that writes it


def reachable(definitions: Schema, names: tuple[str, ...]) -> Schema:
    """The definitions that these refer to, directly or not, by name."""
    found: Schema = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = definitions[name]
            todo += re.findall(r'"#/\$defs/([^"]+)"', json.dumps(definitions[name]))
    return dict(sorted(found.items()))


def skypilot() -> Schema:
    """A task, with the resources and mounts that SkyPilot checks apart from it."""
    task = sky.get_task_schema()
    mount = {"anyOf": [{"type": "string"}, sky.get_storage_schema()]}
    task["properties"] |= {
        "resources": sky.get_resources_schema(),
        "file_mounts": {"type": "object", "additionalProperties": mount},
        "config": {"type": "object"},
    }
    comment = f"skypilot {version('skypilot')}; trimmed by make.py"
    return {"$comment": comment, **closed(task)}


def write(name: str, schema: Schema) -> None:
    """As a file that can be compared line by line."""
    (HERE / name).write_text(json.dumps(schema, indent=1) + "\n")


if __name__ == "__main__":
    write("kubernetes.json", kubernetes())
    write("skypilot.json", skypilot())
