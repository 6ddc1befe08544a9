"""What a notebook's parameters may be: checked by the cell after them, whoever executes it, and by our commands before.

Papermill injects a value of any type, only warns about a name that the notebook does not have, and does not see a line
that holds two signs of equality; so the cell is read here as Python reads it.
"""

import ast
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from ptsa_lite.checks import COUNT, POSITIVE, Rule, check, known

from .places import notebooks_folder

SIMPLE = {kind.__name__: kind for kind in (int, float, str, bool, list, dict)}

FAMILIES = {"low rank", "full", "biases", "decoders"}  # of methods, by what they train
GROUPS: Rule = (lambda v: len(v) == 4 and v == sorted(v) and all(map(COUNT[0], v)),
                "four whole numbers of at least 1, never falling")  # fmt: skip
FRAMES: Rule = (lambda v: v == 0 or v >= 8, "0 for all, or at least 8")
SOME: Rule = (lambda v: len(v) > 0, "a list of at least one")
SIDE: Rule = (lambda v: v > 0 and v % 32 == 0, "a multiple of 32")  # of an image
RATES: Rule = (lambda v: v.keys() == FAMILIES and all(map(POSITIVE[0], v.values())),
               f"a number above 0 for each of {', '.join(sorted(FAMILIES))}")  # fmt: skip


def between(least: int, most: int) -> Rule:
    return lambda v: least <= v <= most, f"from {least} to {most}"


def among(*choices: str) -> Rule:
    return lambda v: v in choices, f"one of {', '.join(choices)}"


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `rank: int = 4  # LoRA rank`."""

    kind: Any  # a type, such as int or list[str]
    default: Any

    def __str__(self) -> str:
        return str(self.kind) if get_args(self.kind) else self.kind.__name__


def checked(names: Mapping[str, Any], **rules: Rule) -> None:
    """The cell after the parameters, in a line: every value is of the type it was declared with, and as its rule says.

        checked(globals(), epochs=COUNT, lr=POSITIVE)

    names: the notebook's globals, where IPython also keeps the text of the cells that ran.
    Raises ValueError in one sentence for the first value that is not, and FileNotFoundError where the package was
    installed without its notebooks.
    """
    notebooks_folder()  # beside which lie the results that they read
    parameters: dict[str, Parameter] = {}
    for source in reversed(names["In"]):
        with suppress(ValueError, SyntaxError):  # which any other cell raises
            parameters = parameters or read_cell(source)
    injected = next((cell for cell in reversed(names["In"]) if cell.startswith("# Parameters\n")), "")  # by papermill
    given = [statement.targets[0].id for statement in ast.parse(injected).body]
    accept({name: names[name] for name in (*parameters, *given)}, parameters)
    check(rules, names)


def read_cell(source: str) -> dict[str, Parameter]:
    """The parameters that a cell declares, by name. Raises ValueError naming the line that declares none.

    Every statement must be an annotated literal: values are injected after the cell, so what is computed in it would
    keep the value computed from the defaults.
    """
    found = {}
    for statement in ast.parse(source).body:
        try:
            parameter = Parameter(_type(statement.annotation), ast.literal_eval(statement.value))
            found[statement.target.id] = parameter
        except (AttributeError, KeyError, ValueError, TypeError):
            raise ValueError(
                f"the parameters cell holds {ast.unparse(statement)!r}; write plain literals with an annotation of "
                f"{', '.join(SIMPLE)}, list[...] or dict[..., ...], as in `rank: int = 4  # LoRA rank`"
            ) from None
        if not fits(parameter.default, parameter.kind):
            raise ValueError(f"the default {parameter.default!r} of {statement.target.id} is no {parameter}")
    return found


def _type(node: ast.expr) -> Any:
    """The type that an annotation names: `int`, `list[str]`, `dict[str, float]`."""
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _type(node.value)[tuple(map(_type, inner))]
    return SIMPLE[node.id]


def accept(values: Mapping[str, Any], parameters: Mapping[str, Parameter], whose: str = "") -> dict[str, Any]:
    """The values, ready to be injected; ValueError on an undeclared name (with the nearest) or a wrong type."""
    accepted = {}
    for key, value in values.items():
        parameter = parameters[known(key, parameters, f"parameter{whose and f' of notebook {whose}'}")]
        if not fits(value, parameter.kind):
            raise ValueError(f"{whose and f'notebook {whose}: '}parameter {key} takes {parameter}, not {value!r}")
        accepted[key] = float(value) if parameter.kind is float else value
    return accepted


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type such as dict[str, float]. An int serves as float; a bool is never a number."""
    outer, inner = get_origin(kind) or kind, get_args(kind)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number if outer is float else isinstance(value, outer) and (number or outer is not int)):
        return False
    items = value.items() if outer is dict else ((item,) for item in value) if inner else ()
    return not inner or all(fits(*pair) for item in items for pair in zip(item, inner, strict=True))
