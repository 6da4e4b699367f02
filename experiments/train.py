"""Trains one network: ``python -m experiments.train --workdir=DIR``."""

import pathlib

from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.runs import device_flags, launch


def run(config: Config, workdir: pathlib.Path) -> None:
  """Trains as `config` says, in `workdir`, from where it stopped."""
  from experiments.training import training_run

  training_run.run(config, workdir, device_flags.shared())


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
