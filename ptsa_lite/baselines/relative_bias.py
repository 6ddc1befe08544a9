"""Position tables only: the rows "relative bias" of Polyhistor's benchmark (Liu et al., NeurIPS 2022).

Trained: the tables of relative positions in every block's attention, heads. Nothing is added, so nothing is merged.
Departure: the tables are shared by all tasks, as everything is that this package trains without adapters.
Count on Swin-T without heads: 23,322. Published 2.64 M: four times that, one model's tables a task, and the 2.55 M of
that benchmark's decoders.
"""

from typing import Any

from ptsa_lite.families import Backbone
from ptsa_lite.model import MultiTaskModel, role_of


class RelativeBiasModel(MultiTaskModel):
    """Raises ValueError for a backbone that has no such tables."""

    def __init__(self, backbone: Backbone, *args: Any, **options: Any):
        super().__init__(backbone, *args, **options)
        if "positions" not in {role_of(f"backbone.{name}") for name, _ in backbone.named_parameters()}:
            raise ValueError("relative_bias is defined for a Swin, whose attention has tables of relative positions")
