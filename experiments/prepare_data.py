"""Prepares a data set that was downloaded, or lists those prepared.

    python -m experiments.prepare_data --source=FOLDER_OR_FILE --name=NAME
    python -m experiments.prepare_data

The source is what the publisher offers, as downloaded: the IDX files of MNIST,
Fashion-MNIST or EMNIST in a folder; cifar-10-python.tar.gz,
cifar-10-binary.tar.gz and the same of CIFAR-100, or what they unpack to;
SVHN's train_32x32.mat and test_32x32.mat in a folder; or images as
split/class/file, unpacked or as split.tar.xz. It becomes an array_record TFDS
data set, without TensorFlow. A second run says that it is done.
"""

import pathlib
import sys
import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import launch, lifecycle, progress, settings

if TYPE_CHECKING:
  from snnjax.data import builders, manifest

_SOURCE = flags.DEFINE_string(
  "source", None, "What was downloaded: a folder or a file."
)
_NAME = flags.DEFINE_string(
  "name",
  None,
  "Name of the data set: mnist, fashion_mnist, emnist_letters, svhn_cropped, "
  "cifar10, cifar100, or one of your own.",
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir",
  None,
  "Folder of all data sets; by default $TFDS_DATA_DIR or "
  "~/tensorflow_datasets.",
)
_OVERWRITE = flags.DEFINE_bool(
  "overwrite", False, "Replace a data set made from other files, or damaged."
)


def run(
  source: str | pathlib.Path,
  name: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  overwrite: bool = False,
  report: progress.Progress = progress.silent,
) -> "builders.Outcome":
  """Prepares a data set.

  Args:
    source: what was downloaded.
    name: of the data set.
    data_dir: where to write; TFDS' own data folder if None.
    overwrite: whether to replace one made from other files, or damaged.
    report: called with (done, total, description).

  Returns:
    What there is now, and whether it is new.

  Raises:
    DataError: if the source is missing, damaged or unknown, or the data set
      is there and made from other files.
    OSError: if the data set cannot be written.
  """
  from snnjax.data import builders

  with lifecycle.reading_data():
    return builders.prepare(
      source, name, data_dir, overwrite=overwrite, progress=report
    )


def line(one: "manifest.Prepared") -> str:
  """Returns one data set as a person reads it."""
  splits = ", ".join(f"{name} {size}" for name, size in one.splits.items())
  made = one.manifest["source"]["layout"] if one.manifest else "TFDS"
  state = one.fault or f"{splits} (from {made})"
  return f"{one.name} {one.version}: {state}\n"


def _list() -> None:
  from snnjax.data import manifest

  found = manifest.found(_DATA_DIR.value)
  sys.stdout.write(
    f"{len(found)} data sets in {manifest.data_folder(_DATA_DIR.value)}\n"
  )
  for one in found:
    sys.stdout.write(line(one))


def main() -> None:
  """Does what the flags say."""
  if _SOURCE.value is None and _NAME.value is None:
    _list()
    return
  if not _SOURCE.value or not _NAME.value:
    raise settings.UsageError("--source and --name are needed together")
  begun = time.monotonic()
  with progress.reporter() as report:
    outcome = run(
      _SOURCE.value,
      _NAME.value,
      _DATA_DIR.value,
      overwrite=_OVERWRITE.value,
      report=report,
    )
  for warning in outcome.warnings:
    sys.stderr.write(f"experiments.prepare_data: warning: {warning}\n")
  spent = progress.duration(time.monotonic() - begun)
  state = f"prepared in {spent}" if outcome.fresh else "already prepared"
  sys.stdout.write(f"{state}: {line(outcome.prepared)}")
  sys.stdout.write(f"{outcome.prepared.path}\n")


if __name__ == "__main__":
  launch.plain(main)
