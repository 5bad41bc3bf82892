"""Reading YAML files: configurations, and claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tdn.errors import UserError


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key stands once: the first of two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list as a key: refused below
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str = "configuration", option: str = "--config") -> dict[str, Any]:
    """The keys and values of a YAML file; an empty one has none.

    Args:
        path: The file.
        what: What it should be, for messages.
        option: Where it was given, for messages.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what} file; check {option}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a {what} file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a {what} file: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply for a {what}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "malformed"
        raise UserError(f"{where}: not valid YAML: {problem}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        # What PyYAML lets through of impossible dates and of values that do not fit their tag.
        raise UserError(f"{path}: not valid YAML: a value does not fit its type") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: must hold 'key: value' lines, not {kind_of(tree)}")
    return tree


def kind_of(value: object) -> str:
    """A value of the wrong kind, in words."""
    names = {"NoneType": "nothing", "list": "a list", "str": "text"}
    return names.get(type(value).__name__, f"'{value}'")
