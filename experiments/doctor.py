"""Says what works here: ``python -m experiments.doctor``.

Versions, devices, a computation that is compiled and checked, the data sets
that are found, free disk, optional packages and the compilation cache. What
is broken is named with its remedy, and the exit code is then 2. ``--json``
prints the same for a program.
"""

import json
import sys

from absl import flags

from experiments import launch, lifecycle, terminal

_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir",
  None,
  "Folder of all data sets; by default $TFDS_DATA_DIR or "
  "~/tensorflow_datasets.",
  # Of another binary too: one program may import both.
  allow_override=True,
)


def main() -> None:
  """Does what the flags say."""
  from experiments import doctor_run

  findings = doctor_run.run(_DATA_DIR.value)
  if _JSON.value:
    terminal.out(f"{json.dumps(doctor_run.plain(findings), indent=2)}\n")
  else:
    terminal.out(doctor_run.text(findings))
  if not doctor_run.healthy(findings):
    sys.exit(lifecycle.ExitCode.USAGE)


if __name__ == "__main__":
  # It tells itself which devices are there.
  launch.plain(main, devices=False)
