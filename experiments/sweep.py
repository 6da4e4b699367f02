"""Trains and evaluates a grid of runs: ``python -m experiments.sweep``.

Each ``--grid`` is a key with its values; every combination is a run in its own
folder of the workdir:

    python -m experiments.sweep --workdir=DIR \
        --grid="method.name=vanilla,sr" --grid="seed=0,1,2"

The results of all are one table, ``DIR/table``, as HTML, Markdown, JSON and
CSV. A run that fails does not stop the others; it is in the table with its
reason, and the same command runs it again. What is finished is not run again.
The exit code is that of the first run that failed.
"""

import pathlib
import sys

from absl import flags

from experiments.command import launch
from experiments.configuration import schema
from experiments.configuration.schema import Config

_GRID = flags.DEFINE_multi_string(
  "grid", [], "KEY=VALUE,VALUE,... of the configuration; may be repeated."
)


def run(config: Config, workdir: pathlib.Path) -> None:
  """Runs the grid of the flags on `config` in `workdir`."""
  from experiments.sweeping import sweep_run

  code = sweep_run.run(config, workdir, _GRID.value)
  if code:
    sys.exit(code)


if __name__ == "__main__":
  launch.configured(
    run,
    default="base",
    keys=launch.Keys(
      (*schema.TRAINING, "evaluation"),
      kept=("leaderboard",),
      later="experiments.report",
    ),
  )
