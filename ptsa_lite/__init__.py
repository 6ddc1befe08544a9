"""ptsa_lite: progressive task-specific adaptation (TGLoRA, arXiv 2509.19602) in a module that reads in an evening."""

__version__ = "0.2.0"
