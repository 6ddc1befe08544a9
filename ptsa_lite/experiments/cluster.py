"""A study on a cluster: every run a job of its own, handed to SLURM by submitit (pip install "ptsa-lite[cluster]")."""

from collections.abc import Sequence
from pathlib import Path

from .queue import do_run
from .run import Run


def submit_study(runs: Sequence[Run], folder: str | Path, cluster: str | None = None, **settings) -> list:
    """A job for each run that is not done; they share the folder with whoever else works there, and do none twice.

    cluster: slurm, local (processes of this machine) or debug (this process); by default slurm where there is one.
    settings: submitit's, such as timeout_min=600, gpus_per_node=1, cpus_per_task=8, slurm_partition="gpu".
    The study's own command, given afterwards or meanwhile, waits for the jobs and collects their results.
    Raises ValueError where submitit is not installed.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError('a cluster needs submitit; install it by pip install "ptsa-lite[cluster]"') from None
    folder = Path(folder).resolve()
    executor = submitit.AutoExecutor(folder / "jobs", cluster)
    executor.update_parameters(name="ptsa_lite", **settings)
    left = [run for run in runs if not (folder / f"{run.name()}.json").is_file()]
    return executor.map_array(do_run, left, [folder] * len(left)) if left else []
