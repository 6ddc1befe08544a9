"""Visual prompt tuning (Jia et al., ECCV 2022) for a Swin: learnt tokens that every window's attention sees.

    [P, X] <- block([P, X])        P: n prompts beside the tokens X (see `prompted_swin`)

Prompts pass norms, MLP and residuals as tokens do; heads do not read them. Shallow: P_t of each task enters before the
first block; patch merging joins four copies of a prompt to one. Deep: every block is given prompts of its own, and what
it made of them is dropped. Trained: P, heads. `rank` is n; dropout acts on P; there is nothing to scale.
Read: public code that follows the authors'. Departure: there windows and prompts are stacked in different orders, so
that a window may be given another image's prompts; here every image keeps its own.
Count on Swin-T without heads, at n = 50 and four tasks: 19,200 and 883,200. Published 2.57 and 3.43 M: the same and the
2.55 M of that benchmark's decoders.
"""

from typing import Any

from timm.models.swin_transformer import WindowAttention
from torch import nn

from ptsa_lite.families import Backbone, SwinBackbone
from ptsa_lite.model import MultiTaskModel

from .prompted_swin import PromptedSwin


class VPTModel(MultiTaskModel):
    """Raises ValueError for a backbone that is no Swin, or other numbers of prompts than one for all stages."""

    deep = False

    def __init__(self, backbone: Backbone, *args: Any, layer: Any = None, dropout: float = 0.0, **options: Any):
        backbone.LINEARS = ()
        super().__init__(backbone, *args, **options)
        swin = type(backbone) is SwinBackbone and type(backbone.blocks(0)[0].attn) is WindowAttention
        if not swin or set(self.ranks) != {max(self.ranks[0], 1)}:
            raise ValueError("VPT is defined for the first Swin with one number of prompts (rank) for all stages")
        backbone.__class__ = PromptedSwin
        backbone.prepare(self.ranks[0], len(self.tasks), self.deep, dropout)
        self.own = {"scale": None, "prompts": "deep" if self.deep else "shallow"}

    def only(self, tasks: Any) -> MultiTaskModel:
        model, old = super().only(tasks), self.backbone.adapter_prompts
        kept = sorted(self.tree.group_of(0, task) for task in model.tasks)
        model.backbone.adapter_prompts = nn.ParameterList(prompts.detach()[kept] for prompts in old)
        return model

    def merge(self) -> MultiTaskModel:
        raise ValueError("prompts stand beside the tokens in attention and cannot be merged away")


class DeepVPTModel(VPTModel):
    """Every block has prompts of its own."""

    deep = True
