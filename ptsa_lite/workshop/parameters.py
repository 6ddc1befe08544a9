"""What a notebook's `parameters` cell declares, and a strict check of what is passed to it.

Papermill only warns about a parameter that a notebook does not declare, and injects any type at all. Here both are
refused before a kernel starts.
"""

import ast
import re
from dataclasses import dataclass
from typing import Any

from ptsa_lite.tasks import known

SIMPLE = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `rank: int = 4  # LoRA rank`."""

    name: str
    kind: str  # the annotation as written, such as int or list[str]
    default: Any
    help: str  # the trailing comment


def cell_with_parameters(notebook) -> Any:
    """The one cell tagged `parameters`, or None; ValueError where there are several, of which papermill reads one."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) > 1:
        raise ValueError(f"{len(tagged)} cells are tagged parameters; tag exactly one")
    return tagged[0] if tagged else None


def declared(notebook, name: str) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in the order written; empty where it has no parameters cell.

    Every statement of the cell must be an annotated literal, one a line, because papermill injects its values after
    the cell: anything computed in it would keep the value computed from the defaults.
    """
    try:
        cell = cell_with_parameters(notebook)
    except ValueError as error:
        raise ValueError(f"notebook {name}: {error}") from None
    if cell is None:
        return {}
    lines = cell.source.splitlines()
    found = {}
    for statement in ast.parse(cell.source).body:
        line = lines[statement.lineno - 1].strip()
        try:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                raise ValueError
            kind = _annotation(statement.annotation)
            default = ast.literal_eval(statement.value)
        except (ValueError, TypeError):
            raise ValueError(
                f"notebook {name}: the parameters cell holds {line!r}; write plain literals with an annotation of "
                f"{', '.join(SIMPLE)}, list[...] or dict[..., ...], as in `rank: int = 4  # LoRA rank`"
            ) from None
        if not _fits(default, kind):
            raise ValueError(f"notebook {name}: the default {default!r} of {statement.target.id} is no {kind}")
        comment = re.search(r"#\s*(.*)$", lines[statement.end_lineno - 1][statement.end_col_offset :])
        found[statement.target.id] = Parameter(
            statement.target.id, kind, default, comment.group(1) if comment else ""
        )
    return found


def accept(values: dict[str, Any], parameters: dict[str, Parameter], name: str) -> dict[str, Any]:
    """The values, ready to be injected; ValueError on an undeclared name (with the nearest) or a wrong type."""
    accepted = {}
    for key, value in values.items():
        kind = parameters[known(key, parameters, f"parameter of notebook {name}")].kind
        if not _fits(value, kind):
            raise ValueError(f"notebook {name}: parameter {key} takes {kind}, not {value!r}")
        accepted[key] = float(value) if kind == "float" else value
    return accepted


def _annotation(node: ast.expr) -> str:
    """The annotation as text; ValueError on one that papermill cannot read (`int | None` makes it blind)."""
    kind = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
    _fits(None, kind)
    return kind


def _fits(value: Any, kind: str) -> bool:
    """Whether a literal is of an annotated kind. An int serves as float; a bool is never a number."""
    outer, inner = kind, ""
    if match := re.fullmatch(r"(list|dict)\[(.+)\]", kind):
        outer, inner = match.groups()
    if outer not in SIMPLE:
        raise ValueError(f"unknown kind of parameter {kind!r}")
    if inner and outer == "list":
        _fits(None, inner)
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if inner:
        first, _, second = (part.strip() for part in inner.partition(","))
        _fits(None, first), _fits(None, second)
        return isinstance(value, dict) and all(_fits(k, first) and _fits(v, second) for k, v in value.items())
    if isinstance(value, bool):
        return outer == "bool"
    return isinstance(value, (int, float) if outer == "float" else SIMPLE[outer])
