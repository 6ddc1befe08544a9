"""Every figure of the project: pure functions that return a Figure, in one style (`style`)."""

# ruff: noqa: F401, I001
from .costs import BILL, draw_costs, draw_work_and_size
from .family import draw_family
from .layer import draw_block, draw_layer, draw_sharing
from .pictures import colour_labels, draw_frames, draw_grid, draw_pca, draw_predictions, draw_progress
from .pictures import picture_of, show
from .similarity import draw_angles, draw_estimates, draw_gradients, draw_how_sure, draw_similarities, draw_similarity
from .similarity import draw_stages
from .study import draw_choices, draw_curves, draw_differences, draw_ranked, draw_sweep, draw_task_gains
from .study import draw_tradeoff
from .style import BOX, CHOSEN, INK, OURS, SOFT, STAGES, THEIRS, Drawing, in_words, name_ends, save_figure
from .style import task_colour, task_ink, task_title, use_style
from .swin import draw_likeness, draw_pyramid, draw_windows
from .tree import draw_adaptation, draw_capacities, draw_schemes, draw_training, draw_tree, draw_tree_beside
