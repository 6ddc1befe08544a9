"""The numbers that others published and the costs that ours must meet, each with its source and how sure it is.

Marks, one or two letters joined by "/":

    P  the paper's own text
    C  read in public code, or in a public thread of that code
    S  a secondary source that reports the paper
    M  measured by us
    I  inferred
    R  recalled, not checked

A value that no text states is absent, never guessed. Metrics are in the units that the field prints: mIoU and maxIoU in
percent, normals in degrees, delta_m in percent, parameters in millions where the key ends in `_m`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ptsa_lite.tasks import known


@dataclass(frozen=True)
class Published:
    """One row: what it is, its numbers by name, the mark, and where it comes from."""

    name: str
    mark: str
    source: str
    values: dict[str, float] = field(default_factory=dict)


def row(table: Iterable[Published], name: str) -> Published:
    """The row of a table by name. Raises ValueError with the nearest name for an unknown one."""
    rows = {entry.name: entry for entry in table}
    return rows[known(name, rows, "row")]


def as_points(table: Iterable[Published]) -> list[dict]:
    """Rows for `plots.draw_tradeoff`, with the mark in each name; None where no text states the number."""
    return [
        {"label": f"{entry.name} ({entry.mark})", "delta_m": entry.values.get("delta_m"), "published": True,
         "trainable": 1e6 * entry.values["trainable_m"] if "trainable_m" in entry.values else None}
        for entry in table
    ]  # fmt: skip


PAPER = "arXiv 2509.19602"
MTLORA = "MTLoRA, CVPR 2024, and its code"
OURS = "counted with ptflops 0.7 on modules only: no attention products, no low-rank products"


def _result(name, semseg, human_parts, saliency, normals, delta_m, trainable_m, mark, source) -> Published:
    values = dict(semseg=semseg, human_parts=human_parts, saliency=saliency, normals=normals)
    return Published(name, mark, source, {**values, "delta_m": delta_m, "trainable_m": trainable_m})


PASCAL_RESULTS = (  # PASCAL-Context, Swin-Tiny, the tables of the MTLoRA line
    _result("single task", 67.21, 61.93, 62.35, 17.97, 0.0, 112.62, "C/R", MTLORA),
    _result("decoders only", 65.09, 53.48, 57.46, 20.69, -9.95, 1.94, "R", MTLORA),
    _result(
        "full fine-tuning", 67.56, 60.24, 65.21, 16.64, 2.23, 30.06, "R",
        f"{MTLORA}; the four metrics give delta_m +2.45, so one of these numbers is wrong",
    ),
    _result("LoRA", 70.12, 57.73, 61.90, 18.96, -2.17, 2.87, "R", MTLORA),
    _result("HyperFormer", 71.43, 60.73, 65.54, 17.77, 2.64, 72.77, "R", MTLORA),
    _result("Polyhistor", 70.87, 59.54, 65.47, 17.47, 2.34, 8.96, "R", MTLORA),
    _result("MTLoRA r64", 67.90, 59.84, 65.40, 16.60, 2.55, 8.34, "C", MTLORA),
    _result(
        "MTLoRA r64, re-run", 68.38, 59.58, 63.85, 16.76, 1.77, 8.34, "C",
        "issue 6 of the MTLoRA code, by the first author of TGLoRA",
    ),
    _result("DiTASK", 69.66, 62.02, 65.00, 17.10, 3.22, 1.61, "R", "DiTASK, CVPR 2025"),
    _result("TADFormer r64", 70.82, 60.45, 65.88, 16.48, 4.24, 7.38, "R", "TADFormer; a re-run got semseg 68.55"),
    Published(
        "TGLoRA (1, 1, 2, 4)", "P/S", f"{PAPER}; semseg from a secondary source",
        {"semseg": 70.53, "delta_m": 3.93, "trainable_m": 6.89},
    ),
)

PAPER_RESULTS = (
    Published("pascal (1, 1, 2, 4)", "P", PAPER, {"delta_m": 3.93, "gmacs": 38.37, "trainable_m": 6.89}),
    Published(
        "pascal (1, 2, 2, 4)", "S/M", f"a text about {PAPER}; its GMACs name the groups",
        {"delta_m": 4.21, "gmacs": 41.38},
    ),
    Published("pascal semseg", "S", f"a text about {PAPER}", {"semseg": 70.53}),
    Published("nyud semseg", "S", f"a text about {PAPER}", {"semseg": 41.92}),
    Published("trainable share of full fine-tuning", "P", PAPER, {"share": 0.2}),
)


def _gmacs(name: str, value: float) -> Published:
    return Published(name, "M", OURS, {"gmacs": value})


GMACS = (  # Swin-Tiny at 448 x 448 with HRNet heads; groups per stage, each running its stage and the merging after it
    _gmacs("pascal (1, 1, 1, 1)", 21.475),
    _gmacs("pascal (1, 1, 1, 4)", 29.804),
    _gmacs("pascal (1, 1, 2, 2)", 32.817),
    _gmacs("pascal (1, 1, 2, 4)", 38.370),
    _gmacs("pascal (1, 2, 2, 4)", 41.383),
    _gmacs("pascal (1, 1, 4, 4)", 55.502),
    _gmacs("pascal (4, 4, 4, 4)", 73.607),
    _gmacs("nyud (1, 1, 1, 1)", 21.519),
    _gmacs("nyud (1, 1, 2, 4)", 38.414),
    _gmacs("nyud (1, 2, 2, 4)", 41.427),
    _gmacs("nyud (4, 4, 4, 4)", 73.651),
    _gmacs("nyud, 3 tasks (1, 1, 1, 1)", 20.533),
    _gmacs("nyud, 3 tasks (1, 1, 2, 3)", 34.652),
)

COUNTED = "counted on the modules of timm's Swin-Tiny and the HRNet heads"


def _parameters(name: str, count: int, mark: str = "M", source: str = COUNTED) -> Published:
    return Published(name, mark, source, {"parameters": count})


PARAMETERS = (  # Swin-Tiny, PASCAL-Context's four tasks
    _parameters("heads and projections", 1_946_624),
    _parameters("patch embedding", 4_896),
    _parameters("norms", 23_040),
    _parameters("relative position tables", 23_322),
    _parameters("patch merging", 1_548_288),
    _parameters("extras", 1_599_546),  # the four rows above
    _parameters("backbone", 27_517_818),
    _parameters("backbone with heads", 29_464_442),
    _parameters("mtlora r16", 4_953_146, "C", MTLORA),
    _parameters("mtlora r32", 6_083_642, "C", MTLORA),
    _parameters("mtlora r64", 8_344_634, "C", MTLORA),
    _parameters("tglora (1, 1, 2, 4), ranks (64, 64, 16, 16)", 6_888_506, "I", "one fit of the paper's 6.89 M"),
)

LORA_PARAMETERS_PER_RANK = (3_072, 6_144, 36_864, 24_576)
"""Low-rank parameters of Swin-Tiny per rank and group, by stage (M): r * sum over stages of this * groups."""
