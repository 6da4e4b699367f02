"""From nothing to a robustness report on real digits, in minutes.

``python -m experiments.quickstart --workdir=DIR`` trains a vanilla, a
HIRE-style and an SR network on images and events of the embedded digits,
attacks each modality and both, measures how sparse their input gradients are
and writes the report. ``--modality=image`` does the same for the images alone.
"""

import pathlib

import ml_collections

from experiments.command import launch


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, evaluates and reports the networks of `config` in `workdir`."""
  from experiments.sweeping import comparison

  comparison.run(config, workdir)


if __name__ == "__main__":
  launch.configured(
    run, default="quickstart", aliases={"modality": "data.modality"}
  )
