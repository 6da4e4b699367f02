"""The ledger: each claim verified, refuted or undecided, with its evidence.

    python -m experiments.claims --workdir=DIR --from_results=results/questions

trains nothing: it reads what the questions of the study measured, in
``--from_results`` or else in ``WORKDIR/results``, and writes
``WORKDIR/claims/report.html``. Some evidence is computed on the spot, of linear
functions, and some is this repository's: ``results/benchmark`` and
``results/suite_standard``. With ``--finished_only`` it says of the networks
that are there what they decide, and names those that are not.

The claims and what decides them are in
``experiments/configs/studies/claims.py``; ``--study=FILE.py`` takes another
study.
"""

import sys

from experiments.questions import question_flags
from experiments.runs import launch


def main() -> None:
  """Does what the flags say."""
  from experiments.questions import claim_answer

  sys.exit(claim_answer.run(question_flags.options()))


if __name__ == "__main__":
  launch.run_plain(main)
