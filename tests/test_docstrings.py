"""Docstrings that can be read alone, and class names that mean one thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
ROOMS: Final = ("commands", "reports", "search", "spaces")

NO_BEGINNING: Final = frozenset(
    # A docstring that begins with a preposition or a pronoun goes on from something that stands elsewhere.
    "about above across after against along among around as at before behind below beneath beside between beyond by "
    "down during for from in inside into near of off on onto out outside over past per since through throughout to "
    "toward towards under until up upon via with within without "
    "he her hers him his how i it its me mine my our ours she that their theirs them these they this those us we what "
    "when where which who whom whose why you your yours".split()
)
FILLERS: Final = frozenset("a an and are is its of or that the this to".split())

MODULES: Final = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(module: Path) -> Iterator[tuple[str, Documented]]:
    """A module, its public classes and functions, and the public methods of these classes, by name."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    yield module.stem, tree
    waiting: list[Documented] = [tree]
    while waiting:
        for node in waiting.pop().body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                yield node.name, node
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)


def words(text: str) -> list[str]:
    """
    >>> words("One `FitKey` of 2: it's text.")
    ['one', 'fitkey', 'of', 'it', 's', 'text']
    """
    return re.findall(r"[a-z]+", text.lower())


def fault(name: str, docstring: str) -> str | None:
    """Why somebody who opened this file first can't read the docstring; None if they can."""
    summary = words(docstring.strip().split("\n\n")[0])
    if summary and summary[0] in NO_BEGINNING:
        return f"begins with {summary[0]!r}: begin with a verb or a noun"
    in_name = set(words(re.sub(r"([A-Z])", r" \1", name).replace("_", " ")))
    if "`" not in docstring and not set(summary) - FILLERS - in_name:
        return "says no more than the name"
    return None


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_public_docstring_can_be_read_alone(module: Path) -> None:
    documented = ((name, ast.get_docstring(node)) for name, node in public(module))
    faults = [f"{name}: {why}" for name, text in documented if text is not None and (why := fault(name, text))]
    assert faults == []


def test_public_class_names_mean_one_thing() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(module.as_posix())
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}


@pytest.mark.parametrize(
    ("name", "docstring", "is_readable"),
    [
        ("left", "Of the whole budget; None without a limit.", False),
        ("wins", "Theirs.", False),
        ("Walk", "The walk.", False),
        ("fold_scores", "The scores of a fold.", False),
        ("add_quiet", "Add `--quiet`.", True),
        ("left", "Seconds left of the whole budget; None without a limit.", True),
        ("is_audited", "Whether a fit belongs to the audited tenth.", True),
        ("softmax", "Probabilities `(n, K)` float32 of logits `(n, K)`.", True),
    ],
)
def test_what_counts_as_readable(name: str, docstring: str, is_readable: bool) -> None:
    assert (fault(name, docstring) is None) == is_readable
