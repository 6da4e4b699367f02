"""From nothing to a robustness report on real digits, in minutes.

``python -m experiments.quickstart --workdir=DIR`` trains a vanilla, a
HIRE-style and an SR network on images and events of the embedded digits,
attacks each modality and both, measures how sparse their input gradients are
and writes the report. ``--modalities=image`` does so for the images alone.
"""

import pathlib

from experiments.configuration.schema import Config
from experiments.runs import device_flags, launch


def run(config: Config, workdir: pathlib.Path) -> None:
  """Trains, evaluates and reports the networks of `config` in `workdir`."""
  from experiments.sweeping import comparison

  comparison.run(config, workdir, device_flags.shared())


if __name__ == "__main__":
  launch.run_configured(
    run, default="quickstart", aliases={"modalities": "data.modalities"}
  )
