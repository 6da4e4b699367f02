"""Says what works here: ``python -m experiments.doctor``.

Versions, devices, a computation that is compiled and checked, the data sets
that are found, free disk, optional packages and the compilation cache. What
is broken is named with its remedy, and the exit code is then 2. ``--json``
prints the same for a program.
"""

import json
import sys

from absl import flags

from experiments.command import exits, terminal
from experiments.runs import launch

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
  from experiments.command import doctor_checks

  findings = doctor_checks.examine(_DATA_DIR.value)
  if _JSON.value:
    terminal.out(f"{json.dumps(doctor_checks.to_record(findings), indent=2)}\n")
  else:
    terminal.out(doctor_checks.describe(findings))
  if not doctor_checks.is_healthy(findings):
    sys.exit(exits.ExitCode.USAGE)


if __name__ == "__main__":
  # It tells itself which devices are there.
  launch.run_plain(main, devices=False)
