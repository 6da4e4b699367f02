"""Writes the report on evaluated networks: ``python -m experiments.report``.

``--workdir`` is one evaluated run, or a folder of several, evaluated by the
same ``--suite``; the report goes to ``WORKDIR/report``, or
``WORKDIR/report_SUITE`` for all suites but "quick".
"""

import pathlib

import ml_collections

from experiments import launch


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes the report on all evaluated runs of `workdir`."""
  from experiments import report_run

  report_run.run(config, workdir)


if __name__ == "__main__":
  launch.configured(
    run,
    default="base",
    aliases={"suite": "evaluation.suite"},
    keys=launch.Keys(("leaderboard", "data.data_dir"), recorded=True),
  )
