"""Chooses the radii of a study's attacks, or the weights of its penalties.

    python -m experiments.calibrate_study --workdir=DIR --data=mnist

trains conventional networks of seeds that no question uses, measures what
attacks leave of them at many radii, and prints the radii at which about 60, 30
and 5 % of what they get right are left, as lines to put into the study. All of
it is in ``DIR/calibration``: ``calibration.json``, ``report.html`` and the
curves as pictures. Stopped at any moment, the same command goes on from there;
of what was trained and measured nothing is done again.

    python -m experiments.calibrate_study --workdir=DIR --match_size=sr_l2:sr

chooses the weight with which the penalty of one arm leaves input gradients of
the size that another arm has, as the mean of log ||g||_1 over clean examples on
networks of the same seeds; see ``DIR/calibration/weights.json``.
"""

import sys

from absl import flags

from experiments.questions import study_flags
from experiments.runs import launch

_DATA = flags.DEFINE_list(
  "data", None, "Data sets of the study, with commas between; all by default."
)
_MODALITIES = flags.DEFINE_list(
  "modalities",
  None,
  "Sets of modalities, such as image,events,image+events; by default those "
  "that the questions ask of each data set.",
)
_SEEDS = flags.DEFINE_list(
  "seeds", None, "Of the networks, which no question uses; 1000 by default."
)
_MATCH_SIZE = flags.DEFINE_string(
  "match_size",
  None,
  "ARM:OTHER chooses the weight of ARM's penalty instead of radii.",
)


def main() -> None:
  """Does what the flags say."""
  from experiments.questions import calibration_options, calibration_run

  sys.exit(
    calibration_run.run(
      calibration_options.options(
        study_flags.workdir(),
        study_flags.study(),
        data=_DATA.value,
        modalities=_MODALITIES.value,
        seeds=_SEEDS.value,
        match_size=_MATCH_SIZE.value,
      )
    )
  )


if __name__ == "__main__":
  launch.run_plain(main)
