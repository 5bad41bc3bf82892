from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.config import Config
from tdn.config_loading import (
    absolute_paths,
    check_config,
    config_to_dict,
    dump_config,
    known_keys,
    load_config,
    resolve_config,
)
from tdn.errors import UserError

CLASSES = ["--model.num_classes", "12"]


def write(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def refusal(path, *words) -> str:
    with pytest.raises(UserError) as error:
        load_config(path, [*CLASSES, *words])
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_file_overrides_defaults_and_words_override_the_file(tmp_path):
    path = write(
        tmp_path,
        "model:\n  num_classes: 7\noptimizer:\n  lr: 1e-3\n  weight_decay: 0.1\n"
        "data:\n  crop_size: [48, 64]\n  flip_labels: {1: 2, 2: 1}\n",
    )
    config = load_config(path, ["--optimizer.lr", "0.02", "--data.flip=false"])
    assert config.model.num_classes == 7
    assert config.optimizer.lr == 0.02
    assert config.optimizer.weight_decay == 0.1
    assert tuple(config.data.crop_size) == (48, 64)
    assert config.data.flip_labels == {1: 2, 2: 1}
    assert config.data.flip is False
    assert config.training == Config().training


def test_a_dumped_configuration_is_read_back_equal(tmp_path):
    words = ["--data.crop_size", "[48, 64]", "--data.flip_labels", "{3: 4, 4: 3}", "--seed", "9"]
    config = load_config(None, [*CLASSES, *words, "--optimizer.lr", "1e-5"])
    path = write(tmp_path, dump_config(config))
    assert load_config(path) == config
    assert resolve_config(path) == config
    assert resolve_config(config) is config


def test_a_map_of_mirrored_labels_goes_by_a_name(tmp_path):
    words = ["--model.num_classes", "174", "--data.flip_labels", "something-something"]
    config = load_config(None, words)
    assert config.data.flip_labels == "something-something"
    assert load_config(write(tmp_path, dump_config(config))) == config
    assert load_config(write(tmp_path, dump_config(config)), ["--data.flip_labels", "{}"]) != config
    config.data.flip_labels = "kinetics"
    with pytest.raises(UserError, match="something-something"):
        check_config(config)


def test_paths_are_made_absolute_and_nothing_else_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(None, [*CLASSES, "--output", "runs/a", "--data.train_list", "list.txt"])
    absolute = absolute_paths(config)
    assert absolute.output == str(tmp_path / "runs" / "a")
    assert absolute.data.train_list == str(tmp_path / "list.txt")
    assert (absolute.data.root, absolute.model.pretrained) == ("", None)
    assert absolute.optimizer == config.optimizer
    assert config.output == "runs/a"


def test_plain_values_only(tmp_path):
    def check(value):
        if isinstance(value, dict):
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        else:
            assert value is None or type(value) in (str, int, float, bool)

    check(config_to_dict(load_config(None, [*CLASSES, "--data.crop_size", "[48, 64]"])))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("optimzer:\n  lr: 1\n", ["optimzer", "optimizer"]),
        ("optimizer:\n  learning_rate: 1\n", ["optimizer.learning_rate"]),
        ("optimizer:\n  momentun: 1\n", ["optimizer.momentun", "optimizer.momentum"]),
        ("optimizer:\n  epochs: 1\n", ["optimizer.epochs", "training.epochs"]),
        ("lr: 1\n", ["lr", "optimizer.lr"]),
        ("optimizer: 3\n", ["optimizer"]),
        ("optimizer:\n", ["optimizer"]),
        ("optimizer:\n  lr:\n", ["optimizer.lr"]),
        ("- optimizer\n", ["recipe.yaml"]),
        ("optimizer: [\n", ["recipe.yaml:2"]),
        ("optimizer:\n  lr: fast\n", ["optimizer.lr", "fast"]),
        ("optimizer:\n  lr: -0.1\n", ["optimizer.lr", "-0.1"]),
        ("optimizer:\n  lr: .nan\n", ["optimizer.lr"]),
        ("optimizer:\n  name: adam\n", ["optimizer.name", "adamw"]),
        ("optimizer:\n  multipliers: {head: 10}\n", ["optimizer.multipliers", "{lr: 10}"]),
        ("optimizer:\n  multipliers: {head: {rate: 1}}\n", ["optimizer.multipliers", "{lr: 10}"]),
        ("optimizer:\n  multipliers: {head: {lr: -1}}\n", ["optimizer.multipliers", "{lr: 10}"]),
        ("optimizer:\n  multipliers: {head: {lr: x}}\n", ["optimizer.multipliers", "{lr: 10}"]),
        ("optimizer:\n  multipliers: [head]\n", ["optimizer.multipliers", "{lr: 10}"]),
        ("training:\n  epochs: 1.5\n", ["training.epochs", "1.5"]),
        ("training:\n  epochs: 0\n", ["training.epochs"]),
        ("training:\n  ema: 1\n", ["training.ema", "0.9999"]),
        ("training:\n  precise_bn: -1\n", ["training.precise_bn", "-1"]),
        ("training:\n  gradient_compression: 8\n", ["gradient_compression", "bf16"]),
        ("training:\n  checkpoint_stages: [0]\n", ["training.checkpoint_stages", "[1, 2]"]),
        ("training:\n  checkpoint_stages: [1, 1]\n", ["training.checkpoint_stages", "[1, 2]"]),
        ("training:\n  stop_timeout: 0\n", ["training.stop_timeout", "above 0"]),
        ("training:\n  stall_timeout: -1\n", ["training.stall_timeout", "from 0"]),
        ("training:\n  non_finite: ignore\n", ["training.non_finite", "stop, skip"]),
        ("training:\n  non_finite_limit: 0\n", ["training.non_finite_limit", "from 1"]),
        ("training: {compile: true}\n", ["training.compile", "reduce-overhead"]),
        (
            "training: {compile: default, checkpoint_stages: [1]}\n",
            ["compile", "checkpoint_stages"],
        ),
        ("training: {compile: reduce-overhead, accumulate: 2}\n", ["compile", "accumulate is 2"]),
        ("training: {compile: reduce-overhead, sync_bn: true}\n", ["compile", "training.sync_bn"]),
        ("data:\n  crop_size: [224]\n", ["data.crop_size"]),
        ("data:\n  crop_size: big\n", ["data.crop_size", "big"]),
        ("data:\n  flip: maybe\n", ["data.flip", "maybe"]),
        ("data:\n  flip_labels: {0: 12}\n", ["data.flip_labels", "12"]),
        ("data:\n  flip_labels: {-1: 2}\n", ["data.flip_labels", "-1"]),
        ("data:\n  flip_labels: something-something\n", ["data.flip_labels", "86", "num_classes"]),
        ("data:\n  flip_labels: something\n", ["data.flip_labels", "something-something"]),
        ("data:\n  flip_labels: [1, 2]\n", ["data.flip_labels", "{86: 87, 87: 86}"]),
        ("data:\n  flip_labels: {left: right}\n", ["data.flip_labels", "{86: 87, 87: 86}"]),
        ("schedule:\n  milestones: [30, x]\n", ["schedule.milestones", "x"]),
        ("schedule:\n  milestones: [30, 20]\n", ["schedule.milestones"]),
        ("model:\n  num_segments: true\n", ["model.num_segments"]),
        ("model:\n  temporal:\n    stages: 2\n", ["model.temporal.stages", "[2, 3, 4]"]),
        ("model:\n  temporal:\n    stages: [2, x]\n", ["temporal.stages", "'x'", "[2, 3, 4]"]),
        ("model: {temporal: {fusion_weights: 0.5}}\n", ["fusion_weights", "[0.5, 0.5]"]),
        ("model: {temporal: {fusion_weights: [1]}}\n", ["fusion_weights", "[0.5, 0.5]"]),
        ("model: {temporal: {fusion_weights: [.nan, 1]}}\n", ["fusion_weights", "[0.5, 0.5]"]),
        ("model: {temporal: {fusions: none}}\n", ["model.temporal.fusions", "first, second"]),
        ("seed: 1\nmodel:\n  width: 8\nseed: 2\n", ["recipe.yaml:4", "seed"]),
        ("model: {width: 8, width: 16}\n", ["recipe.yaml", "width"]),
        ("model: " + "[" * 3000, ["recipe.yaml"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, names):
    message = refusal(write(tmp_path, text))
    for name in names:
        assert name in message


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--optimizer.lrr", "1"], ["optimizer.lrr", "optimizer.lr"]),
        (["--optimizer.lr", "x"], ["optimizer.lr", "x"]),
        (["--optimizer.l", "1"], ["optimizer.l"]),
        (["extra"], ["extra"]),
        (["--optimizer.lr"], ["optimizer.lr"]),
        (["--model.num_classes", "0"], ["model.num_classes"]),
    ],
)
def test_wrong_options_are_named(words, names):
    message = refusal(None, *words)
    for name in names:
        assert name in message


def test_missing_and_binary_files_are_named(tmp_path):
    assert "none.yaml" in refusal(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x00\xff\xfe")
    assert "binary.yaml" in refusal(binary)
    assert str(tmp_path) in refusal(tmp_path)


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_config(write(tmp_path, "# nothing\n"), CLASSES) == load_config(None, CLASSES)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "recipe.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    message = ""
    try:
        load_config(path, CLASSES)
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def test_every_key_is_explained_and_can_be_overridden():
    from tdn.config_loading import config_parser

    help_text = config_parser().format_help()
    words = " ".join(help_text.split())
    for key in known_keys():
        option = words.index(f"--{key} ")
        explanation = words[option : words.index("(type:", option)]
        assert len(explanation.split()) > 3
    assert "Probability of dropping a feature" in words


def test_configurations_made_in_python_are_checked_too():
    config = Config()
    config.model.num_classes = 3
    check_config(config)
    config.optimizer.lr = -1.0
    with pytest.raises(UserError, match=r"optimizer\.lr"):
        resolve_config(config)
    config.optimizer.lr = "fast"
    with pytest.raises(UserError, match=r"optimizer\.lr: 'fast'"):
        resolve_config(config)


def test_a_wrong_type_is_answered_as_a_wrong_value():
    for key, value, wrong in (
        ("optimizer.lr", "-1", "fast"),
        ("data.crop_size", "[1, 1]", "big"),
        ("schedule.milestones", "[2, 1]", "2"),
        ("model.temporal.stages", "[7]", "7"),
        ("model.dropout", "2", "half"),
    ):
        of_value, of_type = refusal(None, f"--{key}={value}"), refusal(None, f"--{key}={wrong}")
        assert of_value.split("; give ")[1] == of_type.split("; give ")[1]


def test_what_is_read_belongs_to_its_reader(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {num_classes: 3}\noptimizer: {multipliers: {stage1: {lr: 0.1}}}\n")
    given = []
    for _ in range(2):
        config = load_config(path)
        given.append(config_to_dict(config))
        config.data.scales.append(2.0)
        config.data.flip_labels[0] = 1
        config.optimizer.multipliers["stage1"]["lr"] = 5.0
        config.schedule.milestones.clear()
        config.training.checkpoint_stages.append(1)
    assert given[0] == given[1]
