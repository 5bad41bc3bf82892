"""Reading a configuration: YAML file, then dotted overrides, then checks of every value.

Unknown keys are refused with the nearest known one, wrong types and impossible values with the key,
the value and the remedy; each as one line (``UserError``).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from tdn.config import Config
from tdn.errors import UserError
from tdn.flip_labels import FLIP_MAPS, flip_map
from tdn.model_rules import MODEL_RULES
from tdn.pipelines.files.frame_folders import is_template
from tdn.recipes import find_recipe
from tdn.rules import Rule, check_rules
from tdn.yaml_files import kind_of, read_yaml

set_parsing_settings(docstring_parse_attribute_docstrings=True)

_NULLABLE = ("model.pretrained", "model.temporal.fusion_weights", "evaluation.crop_size")
"""Keys that may be null in a file."""


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply command-line overrides.

    Args:
        path: YAML file, or None for the defaults alone. A recipe of ``configs/`` is found from any
            folder.
        overrides: Command-line words, such as ``["--optimizer.lr", "0.02"]``.

    Returns:
        The checked configuration.

    Raises:
        UserError: The file cannot be read, a key is unknown, or a value does not fit.
    """
    words = [str(word) for word in overrides]
    if path is not None:
        path = find_recipe(path)
        tree = read_yaml(path)
        _check_keys(path, tree)
        words = ["--config", str(path), *words] if tree else words
    parser = reading_parser()
    try:
        values = vars(parser.instantiate(parser.parse_args(words)))
    except ArgumentError as error:
        raise UserError(_one_line(str(error))) from None
    values.pop("config")
    config = Config(**values)
    check_config(config)
    return config


def resolve_config(config: Config | str | Path) -> Config:
    """A configuration given either loaded or as the path of its YAML file.

    Raises:
        UserError: As ``load_config`` and ``check_config``.
    """
    if not isinstance(config, Config):
        return load_config(config)
    check_config(config)
    return config


def config_parser(prog: str = "tdn", description: str | None = None) -> ArgumentParser:
    """The parser of ``--config FILE`` and every dotted key; its help lists them all."""
    parser = ArgumentParser(
        prog=prog,
        description=description,
        usage="%(prog)s --config FILE [--key.name VALUE ...]",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the keys below.")
    parser.add_class_arguments(Config)
    return parser


@cache
def reading_parser() -> ArgumentParser:
    """``config_parser``, made once, which takes longer than reading a file: not to be changed."""
    return config_parser()


def config_to_dict(config: Config) -> dict[str, Any]:
    """The configuration as nested plain dicts, lists and numbers (what YAML and JSON can hold)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in dataclasses.asdict(config).items()}


def dump_config(config: Config) -> str:
    """The configuration as YAML that ``load_config`` reads back to an equal one."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def absolute_paths(config: Config) -> Config:
    """The configuration with all its paths absolute, to be read from any working directory."""

    def absolute(path: str) -> str:
        return str(Path(path).absolute()) if path else path

    data = dataclasses.replace(
        config.data,
        train_list=absolute(config.data.train_list),
        validation_list=absolute(config.data.validation_list),
        root=absolute(config.data.root),
        classes=absolute(config.data.classes),
    )
    pretrained = config.model.pretrained
    model = dataclasses.replace(config.model, pretrained=pretrained and absolute(pretrained))
    return dataclasses.replace(config, output=absolute(config.output), data=data, model=model)


def known_keys() -> list[str]:
    """Every dotted key, in the order of ``tdn.config``."""
    return [key for key, _ in _flatten(dataclasses.asdict(Config()))]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_keys(
    path: Path, tree: Mapping[str, Any], section: Any = Config, prefix: str = ""
) -> None:
    """Refuse keys that the section's dataclass does not have, and keys without a value."""
    sections = {
        f.name: f.default_factory
        for f in dataclasses.fields(section)
        if dataclasses.is_dataclass(f.default_factory)
    }
    known = sorted(f.name for f in dataclasses.fields(section))
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in known:
            raise UserError(f"{path}: unknown key '{name}'{_suggestion(name)}")
        if key not in sections:
            if value is None and name not in _NULLABLE:
                raise UserError(f"{path}: '{name}' is empty; give a value or drop the key")
        elif isinstance(value, dict):
            _check_keys(path, value, sections[key], f"{name}.")
        else:
            example = min(f.name for f in dataclasses.fields(sections[key]))  # type: ignore[arg-type]
            raise UserError(
                f"{path}: '{name}' is a section and needs keys below it, such as "
                f"'{name}.{example}', not {kind_of(value)}"
            )


def _suggestion(key: str, before: str = "") -> str:
    """The key that was meant, in words; ``before``: what stands before keys where this one does."""
    known = known_keys()
    last = key.rsplit(".", 1)[-1]
    close = [name for name in known if name.rsplit(".", 1)[-1] == last]  # in the wrong section
    if not close:
        names = known + sorted({name.split(".")[0] for name in known})
        close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"; did you mean '{before}{close[0]}'?" if close else "; 'tdn train --help' lists all"


def _one_line(message: str) -> str:
    """What jsonargparse reports, as one line in this product's words."""
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if unknown:
        word = unknown[1].split("=")[0]
        if word.startswith("--"):
            return f"unknown option '{word}'{_suggestion(word[2:], '--')}"
        return f"'{word}' is not an option; options are written '--key.name VALUE'"
    key = re.search(r'Parser key "([^"]+)"', message)
    given = re.search(r"(?:Got value|Given value): (.*)", message)
    if key and given:
        wanted = re.search(r"Expected an? (.*?)\. Got value", message)
        return f"{key[1]}: '{given[1]}' does not fit; give {_need(key[1], wanted and wanted[1])}"
    return " ".join(message.split())


def _need(key: str, wanted: str | None) -> str:
    """What fits a key: what its rule says, or else the type that jsonargparse wanted."""
    needs = {rule.key: rule.need for rule in _RULES}
    if key in needs:
        return needs[key]
    if wanted is None:
        return "a value of the type that 'tdn train --help' shows"
    if wanted.startswith("typing.Literal"):
        return "one of " + wanted[len("typing.Literal") :].strip("[]").replace("'", "")
    kinds = {"<class 'int'>": "a whole number", "<class 'float'>": "a number"}
    kinds |= {"<class 'bool'>": "true or false", "<class 'str'>": "text (quote a number)"}
    return kinds.get(wanted, wanted)


def _is_crop(value: Any) -> bool:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    return len(sides) == 2 and all(side >= 33 for side in sides)


def _is_project(value: str) -> bool:
    parts = value.split("/")
    return not value or (len(parts) <= 2 and all(part.strip() for part in parts))


def _are_factors(value: Mapping[str, float]) -> bool:
    known = {"lr", "weight_decay"}
    return value.keys() <= known and all(0 <= factor < math.inf for factor in value.values())


_RULES = (
    Rule("output", lambda v: bool(v.strip()), "a folder's name"),
    Rule("seed", lambda v: 0 <= v < 2**63, "a whole number from 0"),
    *MODEL_RULES,
    Rule("model.width", lambda v: v >= 8 and v % 8 == 0, "a multiple of 8"),
    Rule(
        "data.frame_template",
        lambda v: v == "" or is_template(v),
        "a name with one number, such as img_{:05d}.jpg",
    ),
    Rule("data.min_frames", lambda v: v >= 1, "a whole number from 1"),
    Rule("data.shuffle_shards", lambda v: v >= 0, "a whole number from 0 (0: all clips)"),
    Rule("data.dense_span", lambda v: v >= 1, "a whole number of frames from 1"),
    Rule("data.stride", lambda v: v >= 1, "a whole number of frames from 1"),
    Rule("data.batch_size", lambda v: v >= 1, "a whole number from 1"),
    Rule("data.crop_size", _is_crop, "pixels from 33: one number or [height, width]"),
    Rule("data.short_side", lambda v: v >= 32, "a whole number of pixels from 32"),
    Rule(
        "data.scales",
        lambda v: len(v) > 0 and all(0 < s <= 1 for s in v),
        "numbers above 0, at most 1, such as [1, 0.75]",
    ),
    Rule("data.color_ops", lambda v: 0 <= v <= 7, "a whole number from 0 (off) to 7"),
    Rule("data.color_magnitude", lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    Rule("data.erasing", lambda v: 0 <= v <= 1, "a probability from 0 (off) to 1"),
    Rule(
        "data.flip_labels",
        lambda v: isinstance(v, dict) or v in FLIP_MAPS,
        "a map such as {86: 87, 87: 86}, or " + ", ".join(FLIP_MAPS),
    ),
    Rule("data.num_threads", lambda v: v >= 1, "a whole number from 1"),
    Rule("data.prefetch", lambda v: v >= 1, "a whole number from 1"),
    Rule("data.memory_limit", lambda v: 0 <= v < math.inf, "a number of GB from 0 (0: a warning)"),
    Rule("data.max_bad_share", lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    Rule("evaluation.clips", lambda v: v >= 1, "a whole number from 1"),
    Rule("evaluation.crops", lambda v: v in (1, 3, 5, 10), "1, 3, 5 or 10"),
    Rule(
        "evaluation.crop_size",
        lambda v: v is None or _is_crop(v),
        "pixels from 33: one number or [height, width]",
    ),
    Rule("evaluation.batch_size", lambda v: v >= 0, "a whole number from 0 (0: data.batch_size)"),
    Rule("optimizer.lr", lambda v: 0 < v < math.inf, "a number above 0"),
    Rule("optimizer.base_batch", lambda v: v >= 0, "a whole number of clips from 0 (0: off)"),
    Rule("optimizer.weight_decay", lambda v: 0 <= v < math.inf, "a number from 0"),
    Rule(
        "optimizer.multipliers",
        lambda v: all(_are_factors(factors) for factors in v.values()),
        "factors from 0 of lr and weight_decay by module, such as {classifier: {lr: 10}}",
    ),
    Rule("optimizer.momentum", lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    Rule("optimizer.clip_norm", lambda v: 0 <= v < math.inf, "a number from 0 (0: no clipping)"),
    Rule(
        "schedule.milestones",
        lambda v: all(m >= 0 for m in v) and v == sorted(set(v)),
        "rising epoch numbers such as [30, 45]",
    ),
    Rule("schedule.gamma", lambda v: 0 < v <= 1, "a number above 0, at most 1"),
    Rule("schedule.min_lr", lambda v: 0 <= v < math.inf, "a number from 0"),
    Rule("schedule.warmup_epochs", lambda v: 0 <= v < math.inf, "a number from 0"),
    Rule("training.epochs", lambda v: v >= 1, "a whole number from 1"),
    Rule("training.accumulate", lambda v: v >= 1, "a whole number from 1"),
    Rule("training.save_every", lambda v: 0 <= v < math.inf, "minutes from 0 (0: epochs only)"),
    Rule("training.save_every_steps", lambda v: v >= 0, "a whole number from 0 (0: off)"),
    Rule("training.stop_timeout", lambda v: 0 < v < math.inf, "seconds above 0"),
    Rule("training.stall_timeout", lambda v: 0 <= v < math.inf, "seconds from 0 (0: off)"),
    Rule("training.host_timeout", lambda v: 0 <= v < math.inf, "seconds from 0 (0: off)"),
    Rule("training.non_finite_limit", lambda v: v >= 1, "a whole number of steps from 1"),
    Rule("training.keep", lambda v: v >= 1, "a whole number from 1"),
    Rule("training.ema", lambda v: 0 <= v < 1, "a number from 0 (off) to below 1, such as 0.9999"),
    Rule(
        "training.checkpoint_stages",
        lambda v: len(set(v)) == len(v) and set(v) <= {1, 2, 3, 4},
        "stages from 1 to 4, such as [1, 2]",
    ),
    Rule("training.precise_bn", lambda v: v >= 0, "a whole number of clips from 0 (0: off)"),
    Rule("training.label_smoothing", lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    Rule("training.mixup", lambda v: 0 <= v < math.inf, "a number from 0 (off), such as 0.8"),
    Rule("training.cutmix", lambda v: 0 <= v < math.inf, "a number from 0 (off), such as 1"),
    Rule("training.validate_every", lambda v: v >= 1, "a whole number from 1"),
    Rule("training.log_every", lambda v: v >= 1, "a whole number from 1"),
    Rule("logging.wandb", _is_project, "a project, entity/project, or '' for none"),
    Rule("logging.line_every", lambda v: 0 <= v < math.inf, "seconds from 0 (0: epochs only)"),
    Rule("training.cpu_threads", lambda v: v >= 0, "a whole number from 0 (0: torch's choice)"),
)


def check_config(config: Config) -> None:
    """Refuse values that cannot work, before anything is read or written.

    Raises:
        UserError: Names the key, the value and what fits.
    """
    check_rules(_RULES, config)
    for key in ("mixup", "cutmix"):
        if getattr(config.training, key) and config.data.batch_size < 2:
            raise UserError(
                f"training.{key}: mixes the clips of a batch, but data.batch_size is "
                f"{config.data.batch_size}; give at least 2"
            )
    _check_compilation(config)
    classes = config.model.num_classes
    for label, mirrored in flip_map(config.data.flip_labels).items():
        if not (0 <= label < classes and 0 <= mirrored < classes):
            raise UserError(
                f"data.flip_labels: {config.data.flip_labels} has {label}: {mirrored}, outside the "
                f"labels 0 to {classes - 1}; correct the map or model.num_classes"
            )
    if config.evaluation.crops == 10 and (config.data.flip_labels or not config.data.flip):
        raise UserError(
            "evaluation.crops: 10 mirrors clips, which data.flip and data.flip_labels say changes "
            "their class; give 5 crops"
        )


def _check_compilation(config: Config) -> None:
    training = config.training
    if training.compile != "none" and training.checkpoint_stages:
        raise UserError(
            "training.compile: torch cannot compile stages that are computed twice, and decides "
            "itself what is; give training.checkpoint_stages [], or compile none"
        )
    if training.compile != "reduce-overhead":
        return
    if training.accumulate > 1:
        raise UserError(
            "training.compile: reduce-overhead keeps gradients where its next CUDA graph writes, "
            f"but training.accumulate is {training.accumulate}; give default"
        )
    if training.sync_bn:
        raise UserError(
            "training.compile: reduce-overhead cannot record the communication of "
            "training.sync_bn in a CUDA graph; give default"
        )
