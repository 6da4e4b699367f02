"""Trains one network: ``python -m experiments.train --workdir=DIR``."""

import pathlib

from experiments import launch, schema
from experiments.schema import Config


def run(config: Config, workdir: pathlib.Path) -> None:
  """Trains as `config` says, in `workdir`, from where it stopped."""
  from experiments import training_loop

  training_loop.run(config, workdir)


if __name__ == "__main__":
  launch.configured(
    run,
    default="base",
    keys=launch.Keys(
      schema.TRAINING,
      kept=schema.LATER,
      later="experiments.evaluate and experiments.report",
    ),
  )
