"""Writes the report on evaluated networks: ``python -m experiments.report``.

``--workdir`` is one evaluated run, or a folder in which runs lie. The report
goes to ``WORKDIR/report`` and shows every evaluation of every run; networks
that were evaluated alike stand side by side. ``--suite`` or ``--evaluation``
choose some; the report on them goes to ``WORKDIR/report_CHOSEN``. With
``--out`` it goes elsewhere and WORKDIR, which may be read-only, stays as it is.
"""

import pathlib

from absl import flags

from experiments.command import exits
from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.runs import launch

_SUITE = flags.DEFINE_string(
  "suite", None, "Show the evaluations by this suite alone."
)
_EVALUATION = flags.DEFINE_string(
  "evaluation",
  None,
  "Show these alone: the name of an evaluation's folder, or a part of it such "
  "as l2 or linf_quick.",
)
_OUT = flags.DEFINE_string(
  "out",
  None,
  "Folder of the report, where it shall not lie in the workdir.",
  allow_override=True,  # of another binary too: one program may import both
)


def run(config: Config, workdir: pathlib.Path) -> None:
  """Writes the report on all, or the chosen, evaluations in `workdir`."""
  from experiments.planning import suites
  from experiments.reporting import report_run

  chosen = _EVALUATION.value or ""
  if _SUITE.value:
    if chosen:
      raise exits.UsageError(
        "--suite and --evaluation choose the same thing: give one of them"
      )
    chosen = suites.title_of(_SUITE.value)
  out = pathlib.Path(_OUT.value) if _OUT.value else None
  report_run.run(config, workdir, chosen, out)


if __name__ == "__main__":
  launch.run_configured(
    run, default="base", keys=launch.Keys(schema.REPORTING, recorded=True)
  )
