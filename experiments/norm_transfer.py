"""Does sparse-gradient training make robustness transfer across norms?

    python -m experiments.norm_transfer --workdir=DIR --size=smoke

trains the networks of the study, attacks them in every norm at three radii, and
writes the answer to ``DIR/norm_transfer/report.html``: the transfer matrix, the
gap at equal linf robustness, and whether the size or the sparsity of gradients
tells robustness. The pool of networks is that of
``experiments.sparsity_under_attack``: give both the same DIR, and what both
need is trained and attacked once. ``--plan``, ``--from_results``,
``--finished_only`` and ``--study`` are as there.
"""

import sys

from experiments.questions import question_flags
from experiments.runs import launch


def main() -> None:
  """Does what the flags say."""
  from experiments.questions import question_run, transfer_answer

  options = question_flags.options()
  sys.exit(
    question_run.run(transfer_answer.NAME, options, transfer_answer.answer)
  )


if __name__ == "__main__":
  launch.run_plain(main)
