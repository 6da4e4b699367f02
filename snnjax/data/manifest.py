"""Lists and checks the prepared data sets on the disk, without TFDS.

A data folder holds TFDS data sets as `name/version/`. Those that
`importers.prepare` wrote have a manifest beside the shards: the SHA-256 of
the files they were made from, of every written file and of every split's
examples; the choices they were made with; the number of examples of each
class; what an example holds. Sets that TFDS prepared itself have no manifest.
"""

import json
import os
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from snnjax.storage import files, identity

FILE = "snnjax.json"
IMPORTER = 2  # how sets are written; 1 kept the order of the files
ARRAY_RECORD = "array_record"
_INFO = "dataset_info.json"
_SIDE = 256  # rows or columns of the sensor: events have a byte for each
_SPLIT = re.compile(r"\w[\w.-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Known(NamedTuple):
  """What a published data set looks like.

  Attributes:
    shape: of an image, (H, W, C), where it has images.
    num_classes: number of classes.
    counts: examples of each split as published; empty if it has no splits.
    download: the files to get.
  """

  shape: tuple[int, ...]
  num_classes: int
  counts: Mapping[str, int]
  download: str


_IDX = (
  "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
  "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)
KNOWN = {
  "mnist": Known((28, 28, 1), 10, {"train": 60_000, "test": 10_000}, _IDX),
  "nmnist": Known(
    (28, 28, 1),
    10,
    {"train": 60_000, "test": 10_000},
    "the folders Train and Test of N-MNIST; add --images=FOLDER, MNIST's IDX "
    "files, for the image of each recording",
  ),
  "cifar10_dvs": Known(
    (128, 128, 2),
    10,
    {},
    "the folder of CIFAR10-DVS' classes, unpacked, with files "
    "class/cifar10_class_n.aedat; it has no splits: add --hold_out=0.1",
  ),
  "dvs_gesture": Known(
    (128, 128, 2),
    11,
    {"train": 1176, "test": 288},
    "the folder DvsGesture, unpacked, with trials_to_train.txt",
  ),
  "fashion_mnist": Known(
    (28, 28, 1), 10, {"train": 60_000, "test": 10_000}, _IDX
  ),
  "svhn_cropped": Known(
    (32, 32, 3),
    10,
    {"train": 73_257, "test": 26_032, "extra": 531_131},
    "train_32x32.mat and test_32x32.mat",
  ),
  "cifar10": Known(
    (32, 32, 3),
    10,
    {"train": 50_000, "test": 10_000},
    "cifar-10-python.tar.gz or cifar-10-binary.tar.gz",
  ),
  "cifar100": Known(
    (32, 32, 3),
    100,
    {"train": 50_000, "test": 10_000},
    "cifar-100-python.tar.gz or cifar-100-binary.tar.gz",
  ),
}


class Prepared(NamedTuple):
  """One prepared data set.

  Attributes:
    name: under which it is opened.
    version: of the preparation.
    path: its folder.
    file_format: of its shards; only "array_record" can be read.
    splits: examples of each.
    manifest: what `importers.prepare` noted; None if TFDS prepared it.
    fault: why it cannot be read; empty if it can.
  """

  name: str
  version: str
  path: pathlib.Path
  file_format: str
  splits: Mapping[str, int]
  manifest: Mapping[str, Any] | None
  fault: str

  @property
  def modalities(self) -> Mapping[str, tuple[int, ...]]:
    """What an example holds: the shape of an image, of one event frame.

    Without a manifest, or with one that names none, it holds an image; its
    shape is then with the examples alone, and () here.
    """
    noted = (self.manifest or {}).get("modalities", {"image": ()})
    return {name: tuple(shape) for name, shape in noted.items()}


class MissingDataError(FileNotFoundError):
  """A data set is not there; the message says how to get it."""


def data_folder(data_dir: str | pathlib.Path | None) -> pathlib.Path:
  """Returns the data folder: TFDS' own where None is given.

  That is the environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.
  """
  if data_dir is None:
    data_dir = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(data_dir).expanduser()


def _order(version: str) -> tuple[int, ...]:
  return tuple(int(part) for part in version.split("."))


def describe(folder: pathlib.Path, name: str) -> Prepared:
  """Returns the data set in a version's folder.

  It does not raise for damage or a format that cannot be read: the reason is
  then in `fault`.
  """
  manifest = None
  try:
    if (folder / FILE).exists():
      manifest = files.read_sealed(folder / FILE, "prepare it again")
      for key in ("source", "examples", "files"):
        manifest[key].items()
      if "made" not in manifest:
        fault = (
          f"{folder} was prepared by an older version, in the order of its "
          "files: prepare it again, with --overwrite"
        )
        return Prepared(name, folder.name, folder, "", {}, None, fault)
      for key in ("made", "counts"):
        manifest[key].items()
      _check_noted(manifest)
    info = files.read_json(folder / _INFO)
    splits = {
      split["name"]: sum(int(length) for length in split["shardLengths"])
      for split in info["splits"]
      if _SPLIT.fullmatch(split["name"])  # TFDS takes no other
    }
    file_format = info.get("fileFormat", "tfrecord")
  except (
    FileNotFoundError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
  ) as error:
    known = isinstance(error, identity.DamagedError)
    fault = str(error) if known else f"{folder} is damaged: {error!r}"
    return Prepared(name, folder.name, folder, "", {}, None, fault)
  fault = ""
  if file_format != ARRAY_RECORD:
    fault = (
      f"{folder} was prepared as {file_format}, which only TensorFlow reads; "
      f"prepare it with file_format={ARRAY_RECORD!r}, or anew"
    )
  return Prepared(
    name, folder.name, folder, file_format, splits, manifest, fault
  )


def _check_noted(noted: Mapping[str, Any]) -> None:
  """Raises ValueError unless a manifest has the fields and types of ours."""
  classes, made = noted["classes"], noted["made"]
  sound = {
    "classes": isinstance(classes, list) and all(map(_is_text, classes)),
    "source": all(
      _is_text(noted["source"][key]) for key in ("layout", "sha256")
    ),
    "counts": all(
      isinstance(counted, list)
      and len(counted) == len(classes)
      and all(map(_is_count, counted))
      for counted in noted["counts"].values()
    ),
    "made": _is_count(made["shuffle_seed"])
    and all(
      _is_text(name) and _is_count(number)
      for key in ("formats", "left_out")
      for name, number in made[key].items()
    ),
    "modalities": all(
      _is_text(name) and all(map(_is_count, shape))
      for name, shape in noted.get("modalities", {}).items()
    )
    and _is_frame(noted.get("modalities", {}).get("events", [1, 1, 2])),
    "files": all(
      _is_text(digest) and name == pathlib.PurePath(name).name
      for name, digest in noted["files"].items()
    ),
  }
  wrong = [key for key, is_sound in sound.items() if not is_sound]
  if wrong:
    raise ValueError(f"{FILE} says of {wrong} what no preparation writes")


def _is_text(value: Any) -> bool:
  return isinstance(value, str)


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_wanted(
  name: str,
  held: Collection[str],
  wanted: Collection[str],
  frames: int | None,
) -> None:
  """Raises ValueError unless a data set holds what is wanted of it.

  Args:
    name: of the set, for the message.
    held: its modalities.
    wanted: some of them, at least one.
    frames: number of event frames; needed where "events" are wanted.
  """
  if not wanted or not set(wanted) <= set(held):
    raise ValueError(
      f"wanted must be some of {sorted(held)}, which {name} holds; got "
      f"{sorted(wanted)}"
    )
  if "events" in wanted and (frames is None or frames < 1):
    raise ValueError(
      f"frames must be at least 1 for the events of {name}; got {frames}"
    )


def _is_frame(shape: list[int]) -> bool:
  """Whether it is the shape of an event frame that bytes can address."""
  *sides, channels = shape
  return (
    len(sides) == 2
    and channels == 2
    and all(0 < side <= _SIDE for side in sides)
  )


def versions(
  name: str, data_dir: str | pathlib.Path | None = None
) -> list[Prepared]:
  """Returns what is prepared under one name, the newest version last.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    data_dir: see `data_folder`.
  """
  folder = data_folder(data_dir) / name
  if not folder.is_dir():
    return []
  present = [
    entry
    for entry in folder.iterdir()
    if _VERSION.fullmatch(entry.name) and entry.is_dir()
  ]
  present.sort(key=lambda entry: _order(entry.name))
  return [describe(entry, name) for entry in present]


def list_prepared(data_dir: str | pathlib.Path | None = None) -> list[Prepared]:
  """Lists every data set prepared in a data folder, by name and version.

  Args:
    data_dir: see `data_folder`; it need not exist.
  """
  root = data_folder(data_dir)
  groups = {
    str(path.parent.relative_to(root))
    for pattern in ("*/*", "*/*/*")  # name/version, name/config/version
    for path in root.glob(pattern)
    if _VERSION.fullmatch(path.name) and path.is_dir()
  }
  return [
    prepared for name in sorted(groups) for prepared in versions(name, root)
  ]


def advice(name: str, data_dir: str | pathlib.Path | None = None) -> str:
  """Returns the command that prepares a data set, with what to download."""
  source = "FOLDER_OR_FILE"
  command = (
    f"python -m experiments.prepare_data --source={source} --name={name} "
    f"--data_dir={data_folder(data_dir)}"
  )
  known = KNOWN.get(name)
  return f"{command}\nwhere {source} is " + (
    f"the folder or file you downloaded: {known.download}"
    if known
    else "a folder of images, split/class/file, or an archive or folder that "
    "the command's --help names"
  )


def locate(name: str, data_dir: str | pathlib.Path | None = None) -> Prepared:
  """Finds the newest prepared version of a data set that can be read.

  Args:
    name: of the data set; "name/config" for one of TFDS' configurations.
    data_dir: see `data_folder`.

  Raises:
    MissingDataError: if there is none, at once and with the command that
      prepares it.
  """
  present = versions(name, data_dir)
  readable = [prepared for prepared in present if not prepared.fault]
  if readable:
    return readable[-1]
  faults = "".join(f"; {prepared.fault}" for prepared in present)
  names = json.dumps([prepared.name for prepared in list_prepared(data_dir)])
  raise MissingDataError(
    f"data set {name!r} is not prepared in {data_folder(data_dir)}{faults} "
    f"(there are: {names}). Prepare it with\n{advice(name, data_dir)}"
  )


def digest(prepared: Prepared) -> str:
  """Returns one SHA-256 of a data set, the same in whichever folder it is.

  With a manifest it covers the classes and the examples of every split, and
  the sensor of their events. TFDS notes no digest of the examples it prepares:
  without a manifest it covers the files that describe the set, and the sizes
  of its shards.

  Args:
    prepared: from `locate`.

  Raises:
    OSError: a file cannot be read.
  """
  if prepared.manifest is not None:
    identifying = {
      key: prepared.manifest[key] for key in ("classes", "examples")
    }
    if "events" in prepared.modalities:
      identifying["events"] = prepared.modalities["events"]
    return identity.of_value(identifying)
  sizes_and_digests: dict[str, str | int] = {}
  for path in sorted(prepared.path.iterdir()):
    shard = f".{ARRAY_RECORD}" in path.name
    sizes_and_digests[path.name] = (
      path.stat().st_size if shard else files.sha256(path)
    )
  return identity.of_value(sizes_and_digests)


def verify(prepared: Prepared, splits: Collection[str]) -> None:
  """Raises if a file differs from its SHA-256 in the manifest.

  Without a manifest nothing is compared.

  Args:
    prepared: the data set.
    splits: whose shards to compare; the files that describe the data set are
      compared in any case.

  Raises:
    ValueError: if a file is missing or changed, naming it.
  """
  if prepared.manifest is None:
    return
  for name, digest in prepared.manifest["files"].items():
    is_shard = f".{ARRAY_RECORD}" in name
    if is_shard and not any(f"-{s}.{ARRAY_RECORD}" in name for s in splits):
      continue
    path = prepared.path / name
    fault = ""
    if not path.is_file():
      fault = "is missing"
    elif files.sha256(path) != digest:
      fault = "has changed"
    if fault:
      raise ValueError(
        f"{path} {fault} since it was prepared; prepare the data set again, "
        f"with --overwrite:\n{advice(prepared.name, prepared.path.parents[1])}"
      )
