"""Trains one network: ``python -m experiments.train --workdir=DIR``.

On several machines the same command is started on all of them, in one folder
that all can reach, with ``--distributed``. A TPU pod, SLURM, Open MPI and
Kubernetes tell which process each is; elsewhere ``--process=I/N@HOST:PORT``.
"""

import pathlib

from absl import flags

from experiments.command.exits import UsageError
from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.runs import device_flags, launch

_DISTRIBUTED = flags.DEFINE_bool(
  "distributed", False, "Be one of several processes, on all their devices."
)
_PROCESS = flags.DEFINE_string(
  "process", None, "I/N@HOST:PORT: process I of N, of which 0 listens there."
)


def run(config: Config, workdir: pathlib.Path) -> None:
  """Trains as `config` says, in `workdir`, from where it stopped."""
  from experiments.training import training_run

  if _PROCESS.value and not _DISTRIBUTED.value:
    raise UsageError(
      f"--process={_PROCESS.value} is one of several: give --distributed too"
    )
  if _DISTRIBUTED.value:
    shared = device_flags.all_processes(_PROCESS.value)
  else:
    shared = device_flags.shared()
  training_run.run(config, workdir, shared)


if __name__ == "__main__":
  launch.run_configured(
    run,
    default="base",
    keys=launch.Keys(
      schema.TRAINING,
      kept=schema.LATER,
      later="experiments.evaluate and experiments.report",
    ),
  )
