"""Writes the report on evaluated networks: ``python -m experiments.report``.

``--workdir`` is one evaluated run, or a folder in which runs lie. The report
goes to ``WORKDIR/report`` and shows every evaluation of every run; networks
that were evaluated alike stand side by side. ``--suite`` or ``--evaluation``
choose some; the report on them goes to ``WORKDIR/report_CHOSEN``.
"""

import pathlib

import ml_collections
from absl import flags

from experiments import launch, schema, settings

_SUITE = flags.DEFINE_string(
  "suite", None, "Show the evaluations by this suite alone."
)
_EVALUATION = flags.DEFINE_string(
  "evaluation",
  None,
  "Show these alone: the name of an evaluation's folder, or a part of it such "
  "as l2 or linf_quick.",
)


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes the report on all, or the chosen, evaluations in `workdir`."""
  from experiments import report_run, suites

  chosen = _EVALUATION.value or ""
  if _SUITE.value:
    if chosen:
      raise settings.UsageError(
        "--suite and --evaluation choose the same thing: give one of them"
      )
    chosen = suites.title_of(_SUITE.value)
  report_run.run(config, workdir, chosen)


if __name__ == "__main__":
  launch.configured(
    run, default="base", keys=launch.Keys(schema.REPORTING, recorded=True)
  )
