"""Writes the report on evaluated networks: ``python -m experiments.report``.

``--workdir`` is one evaluated run, or a folder of several; the report goes to
``WORKDIR/report``.
"""

import pathlib

import ml_collections

from experiments import launch


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes the report on all evaluated runs of `workdir`."""
  from experiments import report_run

  report_run.run(config, workdir)


if __name__ == "__main__":
  launch.configured(run, default="base", of_workdir=True)
