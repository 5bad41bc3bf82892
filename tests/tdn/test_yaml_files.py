from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.yaml_files import read_yaml


@pytest.mark.parametrize(
    "text",
    [
        "? [1]\n: 2",
        "? {a: 1}\n: 2",
        "a: !!bool perhaps",
        "a: !!int x",
        "a: !!float x",
        "a: !!timestamp x",
        "a: 2020-99-99",
        "a: !!python/object:os.system x",
        "a: !!map x",
        "a: 1\na: 2",
        "{a: 1, a: 2}",
        "a: *b",
        "a\n",
        "- a\n",
    ],
)
def test_what_is_no_map_of_values_is_refused_in_a_line(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(path, "claims", "--claims")
    message = str(error.value)
    assert message.startswith(str(path))
    assert message.count("\n") == 0


@given(st.text("{}[]:,-#&*!?|>%@`'\"\n\t 1.ax=~<", max_size=30))
def test_any_text_is_a_map_or_refused_in_a_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("yaml") / "file.yaml"
    path.write_text(text)
    message = ""
    try:
        assert isinstance(read_yaml(path), dict)
    except UserError as error:
        message = str(error)
    assert message.count("\n") == 0


def test_an_empty_file_has_no_keys(tmp_path):
    (tmp_path / "file.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "file.yaml") == {}
    with pytest.raises(UserError, match="--claims"):
        read_yaml(tmp_path / "nowhere.yaml", "claims", "--claims")
    with pytest.raises(UserError, match="folder"):
        read_yaml(tmp_path)
