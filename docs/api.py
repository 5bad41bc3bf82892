"""docs/api.md, made from the docstrings of what is public.

    python docs/api.py            writes docs/api.md
    python docs/api.py --check    whether it is current

``SECTIONS`` says what is public. Docstrings are read by docstring-parser, those of attributes
included. (griffe2md was tried: it gives every attribute a heading, and links to headings that are
not there.)
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from docstring_parser import Docstring, DocstringStyle, parse_from_object
from jinja2 import Environment, FileSystemLoader

HERE = Path(__file__).parent
PAGE = HERE / "api.md"
WIDTH = 96
"""Characters of a line, but in tables."""


class Section(NamedTuple):
    """A heading and what stands under it."""

    title: str
    text: str
    names: Sequence[str]
    """Dotted, from the package down."""


SECTIONS = (
    Section(
        "Networks",
        "All of them are `ClipClassifier`s, and torch modules.",
        [
            "tdn.create_model",
            "tdn.list_models",
            "tdn.clip_classifier.ClipClassifier.forward",
            "tdn.clip_classifier.ClipClassifier.segment_logits",
            "tdn.clip_classifier.ClipClassifier.features",
            "tdn.clip_classifier.ClipClassifier.freeze_batch_norms",
            "tdn.adapter.adapt",
            "tdn.adapter.Anatomy",
        ],
    ),
    Section(
        "Weights",
        "The released checkpoints, torchvision's ResNets, and our own.",
        [
            "tdn.load_checkpoint",
            "tdn.checkpoint.LoadReport",
            "tdn.checkpoint.export_upstream",
            "tdn.trained.load_trained",
            "tdn.trained.Trained",
            "tdn.exporting.export",
        ],
    ),
    Section(
        "Clips",
        "What training, validation and tests are fed.",
        [
            "tdn.create_loader",
            "tdn.pipelines.loader.Batch",
            "tdn.pipelines.loader.Loader",
            "tdn.pipelines.loader.Loader.set_epoch",
            "tdn.pipelines.loader.Loader.close",
            "tdn.pipelines.loader.Loader.classes",
            "tdn.pipelines.indexing.run.index_list",
            "tdn.pipelines.demo_data.write_demo_data",
        ],
    ),
    Section(
        "Runs",
        "What the commands of the same names do.",
        [
            "tdn.training.trainer.train",
            "tdn.training.result.TrainingResult",
            "tdn.evaluation.evaluator.evaluate",
            "tdn.prediction.predictor.Predictor",
            "tdn.prediction.predictor.Predictor.__call__",
            "tdn.prediction.results.VideoPrediction",
            "tdn.prediction.results.VideoPrediction.probabilities",
            "tdn.prediction.results.VideoPrediction.seconds",
            "tdn.prediction.results.VideoPrediction.top",
            "tdn.prediction.results.VideoPrediction.as_dict",
            "tdn.prediction.results.WindowPrediction",
            "tdn.prediction.results.Guess",
            "tdn.summary.summarise",
            "tdn.summary.Summary",
            "tdn.summary.Cost",
        ],
    ),
    Section(
        "Operations",
        "Each runs as a Triton kernel or in eager PyTorch ([kernels](kernels.md)).",
        [
            "tdn.kernels.backend.using",
            "tdn.kernels.backend.uses_triton",
            "tdn.kernels.short_term_stem.short_term_stem",
            "tdn.kernels.short_term_stem.centre_frames",
            "tdn.kernels.fusion.fusion",
            "tdn.kernels.moments.moments",
            "tdn.kernels.long_term_difference.differences_of_maps",
            "tdn.kernels.branch_sum.branch_sum",
            "tdn.kernels.gated_mix.gated_mix",
            "tdn.kernels.excitation.excitation",
            "tdn.kernels.temporal_conv.temporal_conv",
            "tdn.kernels.mixup.mixup",
        ],
    ),
    Section(
        "Configuration",
        "A YAML file with these sections; every key is also an option, `--section.key value`.",
        [
            "tdn.config_loading.load_config",
            "tdn.config_loading.resolve_config",
            "tdn.config_loading.dump_config",
            "tdn.config.Config",
            "tdn.config.ModelConfig",
            "tdn.config.TemporalConfig",
            "tdn.config.DataConfig",
            "tdn.config.EvaluationConfig",
            "tdn.config.OptimizerConfig",
            "tdn.config.ScheduleConfig",
            "tdn.config.TrainingConfig",
            "tdn.config.LoggingConfig",
        ],
    ),
    Section(
        "Exit statuses",
        "Of `tdn train` and of what `launch/` starts: 0 is done, and 1 is a defect. Beside these, "
        "a process that was killed by signal n ends with 128 + n.",
        ["tdn.launcher.statuses"],
    ),
)
STATUSES = {
    2: "a mistake of yours: one line says which",
    68: "a host was lost; a line names it",
    69: "the run stalled, and `training.stall_exit` is on",
    75: "stopped on request, after a checkpoint: the same command goes on",
    130: "a second Ctrl-C: ended without a checkpoint",
}
PLACES = {"Config": "", "TemporalConfig": "model.temporal."}
"""Where configuration classes stand in a file, beside those that are called like their section."""


class Table(NamedTuple):
    """A table."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Entry(NamedTuple):
    """What is told of a name."""

    name: str
    signature: str
    text: str
    tables: Sequence[Table]
    notes: Sequence[str]


def entry(name: str) -> Entry:
    """What is told of a name."""
    thing = _get(name)
    if inspect.ismodule(thing):
        rows = [[str(number), meaning] for number, meaning in STATUSES.items()]
        return Entry(name, "", "", [Table(("status", "meaning"), rows)], [])
    if name.startswith("tdn.config."):
        return _settings(name, thing)
    return (_of_class if inspect.isclass(thing) else _of_function)(name, thing)


def _get(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        home, _, attribute = name.rpartition(".")
        return getattr(_get(home), attribute)


def _of_function(name: str, function: Any) -> Entry:
    plain = getattr(function, "fget", function)  # of a property
    found = parse_from_object(plain, DocstringStyle.GOOGLE)
    short = name.rpartition(".")[2]
    if plain is function:
        signature = _signature(short, plain)
    else:
        signature = f"{short}: {inspect.signature(plain).return_annotation}"
    return Entry(name, signature, _text(found), _arguments(found), _notes(found))


def _of_class(name: str, kind: type) -> Entry:
    found = parse_from_object(kind, DocstringStyle.GOOGLE)
    signature = ""
    if not (dataclasses.is_dataclass(kind) or issubclass(kind, tuple)):
        signature = _signature(name.rpartition(".")[2], kind)
    told = {p.arg_name: p.description or "" for p in found.params if p.args[0] == "attribute"}
    types = {} if signature else inspect.get_annotations(kind)  # of what only holds values
    rows = [
        [f"`{attribute}`", f"`{_cell(_shown(types[attribute]))}`", _cell(told.get(attribute, ""))]
        for attribute in types
    ]
    head = ("attribute", "type", "what it is")
    tables = [*_arguments(found), *([Table(head, rows)] if rows else [])]
    return Entry(name, signature, _text(found), tables, _notes(found))


def _settings(name: str, kind: type) -> Entry:
    """A section of the configuration."""
    found = parse_from_object(kind, DocstringStyle.GOOGLE)
    told = {p.arg_name: p.description for p in found.params}
    short = name.rpartition(".")[2]
    place = PLACES.get(short, short.removesuffix("Config").lower() + ".")
    rows = []
    for field in dataclasses.fields(kind):
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        if not dataclasses.is_dataclass(default):  # that is a section of its own
            shown = f"`{json.dumps(default)}`"
            rows.append([f"`{place}{field.name}`", shown, _cell(told[field.name])])
    return Entry(name, "", _text(found), [Table(("key", "default", "meaning"), rows)], [])


def _signature(name: str, function: Any) -> str:
    """As it is written, on as many lines as it needs."""
    found = inspect.signature(function)
    parts, keyword = [], False
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword:
            parts.append("*")
            keyword = True
        parts.append(_parameter(parameter))
    back = found.return_annotation
    result = "" if back in (inspect.Signature.empty, "None", None) else f" -> {_shown(back)}"
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){result}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    told = f"{stars}{parameter.name}"
    if parameter.annotation is not inspect.Parameter.empty:
        told += f": {_shown(parameter.annotation)}"
    if parameter.default is inspect.Parameter.empty:
        return told
    default = parameter.default
    plain = isinstance(default, int | float | str | tuple | None)
    shown = repr(default) if plain else f"{type(default).__name__}()"
    return f"{told} = {shown}"


def _shown(annotation: Any) -> str:
    annotation = getattr(annotation, "__forward_arg__", annotation)  # as NamedTuple keeps it
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _arguments(found: Docstring) -> list[Table]:
    given = [p for p in found.params if p.args[0] != "attribute"]
    rows = [[f"`{p.arg_name}`", _cell(p.description or "")] for p in given]
    return [Table(("argument", "what it is"), rows)] if rows else []


def _notes(found: Docstring) -> list[str]:
    notes = []
    if found.returns:
        notes.append(f"**Returns** {_flat(found.returns.description or '')}")
    notes += [f"**Raises** `{r.type_name}`: {_flat(r.description or '')}" for r in found.raises]
    return [textwrap.fill(note, WIDTH, break_on_hyphens=False) for note in notes]


def _text(found: Docstring) -> str:
    """The description, with code as on a page."""
    parts = [found.short_description, found.long_description]
    text = "\n\n".join(part.strip() for part in parts if part)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _flat(text: str) -> str:
    text = re.sub(r"<(?=\w)", "&lt;", text)  # no tag
    return re.sub(r"``([^`]+)``", r"`\1`", " ".join(text.split()))


def _cell(text: str) -> str:
    return _flat(text).replace("|", "\\|")


def page() -> str:
    """The whole page."""
    environment = Environment(loader=FileSystemLoader(HERE), keep_trailing_newline=True)
    sections = [
        {
            "title": section.title,
            "text": textwrap.fill(section.text, WIDTH, break_on_hyphens=False),
            "entries": [entry(name) for name in section.names],
        }
        for section in SECTIONS
    ]
    text = environment.get_template("api.md.jinja").render(sections=sections)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Write it, or look whether it is current; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if out of date")
    if parser.parse_args(words).check:
        current = PAGE.exists() and PAGE.read_text() == page()
        if not current:
            print(f"{PAGE}: is not current; run python docs/api.py", file=sys.stderr)
        return int(not current)
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
