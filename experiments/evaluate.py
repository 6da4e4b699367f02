"""Evaluates a trained network: ``python -m experiments.evaluate``.

``--workdir`` is the folder of a finished `experiments.train`; its configuration
says what was trained, and how it is attacked unless ``--config`` or keys of
``--config.evaluation`` say otherwise. ``--suite`` names the attacks: "quick",
"standard", "full" or a file, see `experiments.planning.suites`. Results go to
``WORKDIR/evaluation_NORM_SUITE_RADII``; a run may have many evaluations, and
``--config.evaluation.norms=linf,l2,l1,l0`` is one in four norms.
"""

import pathlib

from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.runs import device_flags, launch


def run(config: Config, workdir: pathlib.Path) -> None:
  """Evaluates the network trained in `workdir` as `config` says."""
  from experiments.evaluation import evaluation_run
  from experiments.reporting import console

  evaluation_run.run(
    config, workdir, device_flags.shared(), tell=console.networks
  )


if __name__ == "__main__":
  launch.run_configured(
    run,
    default="base",
    aliases={"suite": "evaluation.suite"},
    keys=launch.Keys(schema.EVALUATING, recorded=True),
  )
