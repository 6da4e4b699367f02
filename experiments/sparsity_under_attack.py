"""Do networks trained with crafted noise keep sparser gradients under attack?

    python -m experiments.sparsity_under_attack --workdir=DIR --size=smoke

trains the networks of the study, measures their input gradients on clean
inputs, at adversarial ones and along the attacks, and writes the answer to
``DIR/sparsity_under_attack/report.html``. The same command, started several
times at once, shares the work; stopped at any moment, it goes on from there.

``--plan`` says what would be run and how long it takes. ``--from_results=DIR``
answers from results that are there, such as the committed
``results/questions``, and trains nothing. What is asked, and the rules that
decide, are in ``experiments/configs/studies/questions.py``; ``--study=FILE.py``
takes another study.
"""

import sys

from experiments.questions import question_flags
from experiments.runs import launch


def main() -> None:
  """Does what the flags say."""
  from experiments.questions import question_run, sparsity_answer

  options = question_flags.options()
  sys.exit(
    question_run.run(sparsity_answer.NAME, options, sparsity_answer.answer)
  )


if __name__ == "__main__":
  launch.run_plain(main)
