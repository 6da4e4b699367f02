"""Trains and evaluates a grid of runs: ``python -m experiments.sweep``.

Each ``--grid`` is a key with its values; every combination is a run in its own
folder of the workdir:

    python -m experiments.sweep --workdir=DIR \
        --grid="method.name=vanilla,sr" --grid="seed=0,1,2"

``--runs=FILE.py`` lists runs that are no grid: its ``get_runs()`` returns a
list of mappings such as ``{"method.name": "sr", "method.sr.weight": 0.1}``.
With both, every run of the list is run with every combination of the grid.

The same command, started several times at once, shares the work: each process
takes runs that are free. Stopped at any moment, it goes on from there when it
is started again; what another process was killed in is taken over. ``--status``
says which runs are done, failed, busy and free, and runs none.

The results are in ``DIR/table``, as HTML, Markdown, JSON, CSV and a picture:
means over seeds with their intervals, and every single run. A run that fails
stops no other; it is in the table with its reason, and ``--retry`` runs it
again. The exit code is that of the first run that failed.
"""

import pathlib
import sys

from absl import flags

from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.runs import device_flags, launch

_GRID = flags.DEFINE_multi_string(
  "grid", [], "KEY=VALUE,VALUE,... of the configuration; may be repeated."
)
_RUNS = flags.DEFINE_string(
  "runs", None, "Python file whose get_runs() lists runs, as mappings."
)
_RETRY = flags.DEFINE_bool("retry", False, "Run again what failed before.")
_STATUS = flags.DEFINE_bool(
  "status", False, "Say how every run stands, and run none."
)


def run(config: Config, workdir: pathlib.Path) -> None:
  """Runs the grid of the flags on `config` in `workdir`."""
  from experiments.sweeping import grid, sweep_run

  listed = grid.read_runs(_RUNS.value) if _RUNS.value else ()
  if _STATUS.value:
    sweep_run.tell(config, workdir, _GRID.value, listed=listed)
    return
  code = sweep_run.run(
    config,
    workdir,
    _GRID.value,
    listed=listed,
    retry=_RETRY.value,
    shared=device_flags.shared(),
  )
  if code:
    sys.exit(code)


if __name__ == "__main__":
  launch.run_configured(
    run,
    default="base",
    keys=launch.Keys(
      (*schema.TRAINING, "evaluation"),
      kept=("leaderboard",),
      later="experiments.report",
    ),
  )
