"""YAML from untrusted files: plain values only, bounded in size, with errors that name the place."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import yaml

MOST_BYTES: Final = 1_000_000
"""Largest size of a file in bytes. A best_config.yaml has a few thousand; PyYAML takes seconds for a megabyte."""


class PlainYamlError(ValueError):
    """Error for a file that can't be read as plain values. Its message is one line, without the file's name."""


def read(path: Path) -> Any:
    """Return the content of a YAML file of plain values: mappings, lists, text, numbers, true/false and null.

    Raises:
        PlainYamlError: the file does not exist, is larger than `MOST_BYTES`, is not YAML in UTF-8, or contains a tag,
            an alias or a key twice.
    """
    try:
        if path.stat().st_size > MOST_BYTES and path.is_file():
            raise PlainYamlError(f"has {path.stat().st_size:,} bytes. Expected at most {MOST_BYTES:,}.")
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # a subclass of the safe loader
    except PlainYamlError:
        raise
    except FileNotFoundError:
        raise PlainYamlError("no such file.") from None
    except OSError as error:
        raise PlainYamlError(f"can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PlainYamlError("is not a text file in UTF-8.") from None
    except yaml.constructor.ConstructorError as error:
        raise PlainYamlError(f"{error.problem}{_line(error)}. Only plain values are read.") from None
    except yaml.MarkedYAMLError as error:
        raise PlainYamlError(f"is not YAML: {error.problem}{_line(error)}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PlainYamlError(f"is not YAML: {' '.join(str(error).split())}.") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses a key given twice, where it would silently take the last.

    It also refuses aliases: nested ones name more values in a few lines than any machine holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.peek_event()  # type: ignore[no-untyped-call]
            place = f"line {event.start_mark.line + 1} uses" if event.start_mark else "uses"
            raise PlainYamlError(f"{place} an alias (*{event.anchor}). Write the value out instead.")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        earlier_keys = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in earlier_keys:
                line = key.start_mark.line + 1
                raise PlainYamlError(f"{key.value}: given a second time in line {line}. Remove one of them.")
            earlier_keys.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _line(error: yaml.MarkedYAMLError) -> str:
    return f", line {error.problem_mark.line + 1}" if error.problem_mark else ""


def unknown_key(key: Any, allowed: Collection[str]) -> str:
    """Return a message for a key that is not allowed, with the allowed keys and the most similar one of them."""
    return f"unknown key {short(key)}{closest(key, allowed)}. Expected one of {', '.join(allowed)}."


def closest(word: Any, allowed: Collection[str]) -> str:
    """Return ` (did you mean 'x'?)` with the most similar allowed word; "" if none is similar."""
    near = difflib.get_close_matches(str(word)[:80], allowed, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def kind(value: Any) -> str:
    """Return the type of a YAML value in words, such as "a mapping" or "text"."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def short(value: Any) -> str:
    """Return the value as Python writes it, at most 80 characters long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
