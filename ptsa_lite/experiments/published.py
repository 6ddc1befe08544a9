"""The numbers that others published and the costs that ours must meet, each with its source and how sure it is.

They stand in assets/published.yaml. Marks, one or two joined by "/":

    P   the paper's own text
    C   read in public code, or in a public thread of that code
    C3  a third party's public log of a full run
    S   a secondary source
    M   measured by us
    I   inferred
    R   recalled, not checked

A value that no text states is absent, never guessed. Metrics are in the units that the field prints: mIoU and maxIoU in
percent, normals in degrees, depth in metres, delta_m in percent, parameters in millions where the key ends in `_m`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ptsa_lite.tasks import known

from .yaml_files import read_yaml


@dataclass(frozen=True)
class Published:
    """One row: what it is, its numbers by name, the mark, and where it comes from."""

    name: str
    mark: str
    source: str
    values: dict[str, float]


_CONTENT = read_yaml(Path(str(files("ptsa_lite") / "assets" / "published.yaml")))


def _rows(names: Iterable[str], rows: Mapping[str, list]) -> tuple[Published, ...]:
    return tuple(
        Published(name, mark, _CONTENT["sources"][source],
                  {key: value for key, value in zip(names, values, strict=True) if value is not None})
        for name, (mark, source, *values) in rows.items()
    )  # fmt: skip


PASCAL_RESULTS, PAPER_RESULTS, GMACS, PARAMETERS, SEVERAL_RUNS, TRAINABLE = (
    _rows(_CONTENT[name]["values"], _CONTENT[name]["rows"])
    for name in ("pascal", "paper", "gmacs", "parameters", "runs", "trainable")
)
NYUD_RESULTS = {
    references: _rows(_CONTENT["nyud"]["values"], rows) for references, rows in _CONTENT["nyud"]["sets"].items()
}
"""Rows by the single-task references that their delta_m is against: rows of two sets are not to be compared."""

LORA_PARAMETERS_PER_RANK = (3_072, 6_144, 36_864, 24_576)
"""Low-rank parameters of Swin-Tiny per rank and group, by stage (M): r * sum over stages of this * groups."""


def row(table: Iterable[Published], name: str) -> Published:
    """The row of a table by name. Raises ValueError with the nearest name for an unknown one."""
    rows = {entry.name: entry for entry in table}
    return rows[known(name, rows, "row")]


def as_points(table: Iterable[Published]) -> list[dict]:
    """Rows for `figures.draw_tradeoff`, with the mark in each name; None where no text states the number."""
    return [
        {"label": f"{entry.name} ({entry.mark})", "delta_m": entry.values.get("delta_m"), "published": True,
         "trainable": 1e6 * entry.values["trainable_m"] if "trainable_m" in entry.values else None}
        for entry in table
    ]  # fmt: skip
