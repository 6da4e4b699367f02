"""Prepares a data set that was downloaded, or lists those prepared.

    python -m experiments.prepare_data --source=FOLDER_OR_FILE --name=NAME
    python -m experiments.prepare_data --source=N-MNIST --images=MNIST --name=N
    python -m experiments.prepare_data

The source is what the publisher offers, as downloaded: the IDX files of MNIST,
Fashion-MNIST or EMNIST in a folder; cifar-10-python.tar.gz,
cifar-10-binary.tar.gz and the same of CIFAR-100, or what they unpack to;
SVHN's train_32x32.mat and test_32x32.mat in a folder; EMNIST's
emnist-SET.mat; N-MNIST's folders Train and Test; or images as split/class/file,
both unpacked or in a tar or zip. It becomes an array_record TFDS data set, in a
random order, without TensorFlow. A second run says that it is done.

File n of N-MNIST is the recording of MNIST's image n. With --images, the folder
of MNIST's IDX files, an example is both; without, the recording alone.

Training reads the splits train and test. Others are named with
--splits=train:Train,test:Test; where there is no test split, --hold_out=0.2
makes a fifth of the training examples one, of each class its share.
"""

import pathlib
import time
from typing import TYPE_CHECKING

from absl import flags

from experiments.command import exits, progress, terminal
from experiments.runs import launch

if TYPE_CHECKING:
  from snnjax.data import manifest
  from snnjax.data.importers import prepare

_SOURCE = flags.DEFINE_string(
  "source", None, "What was downloaded: a folder or a file."
)
_NAME = flags.DEFINE_string(
  "name",
  None,
  "Name of the data set: mnist, fashion_mnist, emnist_letters, svhn_cropped, "
  "cifar10, cifar100, nmnist, cifar10_dvs, dvs_gesture, or one of your own.",
)
_IMAGES = flags.DEFINE_string(
  "images",
  None,
  "Of N-MNIST: the folder of MNIST's IDX files, for the recordings' images.",
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
_SPLITS = flags.DEFINE_string(
  "splits",
  None,
  "Which splits to prepare, and as what: train:Train,test:Test.",
)
_HOLD_OUT = flags.DEFINE_float(
  "hold_out", 0.0, "Share of the training examples for the test split."
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "Of the order of the examples, and of what is held out."
)


def run(
  source: str | pathlib.Path,
  name: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  images: str | pathlib.Path | None = None,
  overwrite: bool = False,
  splits: str | None = None,
  hold_out: float = 0.0,
  seed: int = 0,
  report: progress.Progress = progress.silent,
) -> "prepare.Outcome":
  """Prepares a data set.

  Args:
    source: what was downloaded.
    name: of the data set.
    data_dir: where to write; TFDS' own data folder if None.
    images: the folder of IDX files whose images the source's recordings are
      of; None where it is no recordings, or for these alone.
    overwrite: whether to replace one made from other files, or otherwise, or
      damaged.
    splits: such as ``train:Train,test:Test``; None keeps all.
    hold_out: share of the training examples for the test split.
    seed: of the order of the examples, and of what is held out.
    report: called with (done, total, description).

  Returns:
    What there is now, and whether it is new.

  Raises:
    DataError: if the source is missing, damaged or unknown, or the data set
      is there and made from other files.
    OSError: if the data set cannot be written.
    Preempted: a signal asked to stop; nothing half-written is left.
  """
  from experiments.command import stopping
  from snnjax.data.importers import prepare, split_names

  with (
    exits.stop_on_sigterm() as should_stop,
    exits.blame_data(),
  ):
    return prepare.prepare(
      source,
      name,
      data_dir,
      images=images,
      overwrite=overwrite,
      splits=None if splits is None else split_names.parse(splits),
      hold_out=hold_out,
      seed=seed,
      progress=stopping.make_interruptible(report, should_stop),
    )


def line(one: "manifest.Prepared") -> str:
  """Returns one data set as a person reads it, a line more for each split."""
  from snnjax.data import counts

  if one.fault:
    return f"{one.name} {one.version}: {one.fault}\n"
  if one.manifest is None:
    sizes = ", ".join(f"{split} {size:,}" for split, size in one.splits.items())
    return f"{one.name} {one.version}: {sizes} (from TFDS)\n"
  noted, made = one.manifest, one.manifest["made"]
  formats = "".join(f", {kind}" for kind in made["formats"])
  told = "".join(
    f"  {split}: {counts.describe(counted, noted['classes'])}\n"
    for split, counted in sorted(
      noted["counts"].items(), key=lambda item: (item[0] != "train", item[0])
    )
  )
  return (
    f"{one.name} {one.version} from {noted['source']['layout']}{formats}, "
    f"shuffled by seed {made['shuffle_seed']}\n{told}"
  )


def _list() -> None:
  from snnjax.data import manifest

  found = manifest.list_prepared(_DATA_DIR.value)
  terminal.out(
    f"{len(found)} data sets in {manifest.data_folder(_DATA_DIR.value)}\n"
  )
  for one in found:
    terminal.out(line(one))


def main() -> None:
  """Does what the flags say."""
  if (_SOURCE.value, _NAME.value, _IMAGES.value) == (None, None, None):
    _list()
    return
  if not _SOURCE.value or not _NAME.value:
    raise exits.UsageError("--source and --name are needed together")
  begun = time.monotonic()
  with progress.reporter() as report:
    outcome = run(
      _SOURCE.value,
      _NAME.value,
      _DATA_DIR.value,
      images=_IMAGES.value,
      overwrite=_OVERWRITE.value,
      splits=_SPLITS.value,
      hold_out=_HOLD_OUT.value,
      seed=_SEED.value,
      report=report,
    )
  for warning in outcome.warnings:
    terminal.err(f"experiments.prepare_data: warning: {warning}\n")
  spent = progress.duration(time.monotonic() - begun)
  state = f"prepared in {spent}" if outcome.fresh else "already prepared"
  terminal.out(f"{state}: {line(outcome.prepared)}")
  terminal.out(f"{outcome.prepared.path}\n")


if __name__ == "__main__":
  launch.run_plain(main, devices=False)
