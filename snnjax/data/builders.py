"""Writes array_record TFDS data sets from downloads, without TensorFlow.

Written beside its place, compared example by example with what was read,
noted with its checksums, and renamed: a set is whole or not there. A second
preparation of other sources is a new version; the old one goes after the new
one is in place.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from snnjax import files
from snnjax.data import manifest, prepared, registry, sources

Progress = Callable[[int, int, str], None]  # (done, total, description)

RESERVED = (registry.EMBEDDED,)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHUNK = 1000  # examples between two reports
_SHARD_BYTES = 256 << 20


class Outcome(NamedTuple):
  """What `prepare` did.

  Attributes:
    prepared: the data set.
    fresh: False if it was there already.
    warnings: what a person should know, such as counts that differ from the
      published ones.
  """

  prepared: manifest.Prepared
  fresh: bool
  warnings: tuple[str, ...]


def _digest(
  source: sources.Source, root: pathlib.Path, progress: Progress
) -> dict[str, Any]:
  """What a manifest says of the source: one digest over names and content."""
  each: dict[str, str] = {}
  size = 0
  base = root if root.is_dir() else root.parent
  total = len(source.files)
  for done, path in enumerate(source.files):
    each[str(path.relative_to(base))] = files.sha256(path)
    size += path.stat().st_size
    if (done + 1) % _CHUNK == 0 or done + 1 == total:
      progress(done + 1, total, "hash source files")
  lines = "".join(
    f"{digest}  {name}\n" for name, digest in sorted(each.items())
  )
  noted: dict[str, Any] = {
    "layout": source.layout,
    "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    "count": total,
    "bytes": size,
  }
  if total <= 32:  # archives; a folder of images has too many to list
    noted["files"] = each
  return noted


def _update(digest: Any, image: np.ndarray, label: int) -> None:
  digest.update(np.ascontiguousarray(image).data)
  digest.update(label.to_bytes(4, "little"))


def _check(
  image: np.ndarray, label: int, shape: tuple[int, ...], source: sources.Source
) -> None:
  if image.dtype != np.uint8 or image.shape != shape:
    raise ValueError(
      f"{source.layout}: every image must be uint8 {shape}, as the first one; "
      f"got {image.dtype} {image.shape}"
    )
  if not 0 <= label < len(source.classes):
    raise ValueError(
      f"{source.layout}: labels must be in [0, {len(source.classes)}); got "
      f"{label}"
    )


class _Writer:
  """Writes one data set's splits, one after the other."""

  def __init__(
    self, name: str, version: str, folder: pathlib.Path, source: sources.Source
  ) -> None:
    self._name, self._version, self._folder = name, version, folder
    self._source = source
    self._writer: Any = None
    self._shape: tuple[int, ...] = ()

  def _start(self, shape: tuple[int, ...]) -> None:
    known = manifest.KNOWN.get(self._name)
    classes = len(self._source.classes)
    if known and (known.shape, known.num_classes) != (shape, classes):
      raise ValueError(
        f"{self._name} must have images {known.shape} of {known.num_classes} "
        f"classes; the source, {self._source.layout}, has {shape} of "
        f"{classes}: give it another name"
      )
    self._shape = shape
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Tensor(
          shape=shape, dtype=np.uint8, encoding="bytes"
        ),
        "label": tfds.features.ClassLabel(names=list(self._source.classes)),
      }
    )
    identity = tfds.core.DatasetIdentity(
      name=self._name,
      version=tfds.core.Version(self._version),
      data_dir=os.fspath(self._folder),
      module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
      builder=identity,
      description=f"Made from {self._source.layout}.",
      features=features,
      supervised_keys=("image", "label"),
      disable_shuffling=True,
    )
    self._writer = tfds.core.SequentialWriter(
      info,
      max_examples_per_shard=max(1, _SHARD_BYTES // int(np.prod(shape))),
      file_format=manifest.ARRAY_RECORD,
    )

  def write(
    self, split: str, examples: sources.Examples, progress: Progress
  ) -> str:
    """Writes a split; returns the SHA-256 of its examples."""
    digest = hashlib.sha256()
    chunk: list[dict[str, Any]] = []
    for done, (image, label) in enumerate(examples.rows, 1):
      if self._writer is None:
        self._start(image.shape)
      if done == 1:
        self._writer.initialize_splits([split])
      _check(image, label, self._shape, self._source)
      _update(digest, image, label)
      chunk.append({"image": image, "label": label})
      if done % _CHUNK == 0 or done == examples.size:
        self._writer.add_examples({split: chunk})
        chunk = []
        progress(done, examples.size, f"write {split}")
    self._writer.close_splits([split])
    return digest.hexdigest()


def _compare(
  folder: pathlib.Path, name: str, digests: dict[str, str], progress: Progress
) -> None:
  """Reads everything back: the disk holds what the source held, or raises."""
  written = manifest.describe(folder, name)
  if written.fault:
    raise OSError(f"{written.fault}, as just written; is the disk full?")
  for split, expected in digests.items():
    records = prepared.open_prepared(written, split)
    digest = hashlib.sha256()
    for begin in range(0, records.size, _CHUNK):
      rows = range(begin, min(begin + _CHUNK, records.size))
      images, labels = records.read(rows)
      for image, label in zip(images, labels.tolist(), strict=True):
        _update(digest, image, label)
      progress(rows.stop, records.size, f"verify {split}")
    if digest.hexdigest() != expected:
      raise OSError(
        f"{folder}: split {split} reads back other than it was written; is "
        "the disk full or failing?"
      )


def _write(
  name: str,
  version: str,
  folder: pathlib.Path,
  source: sources.Source,
  noted: dict[str, Any],
  progress: Progress,
) -> None:
  """Fills `folder` with a whole data set and its manifest."""
  writer = _Writer(name, version, folder, source)
  digests = {
    split: writer.write(split, open_split(), progress)
    for split, open_split in source.splits.items()
  }
  _compare(folder, name, digests, progress)
  written = sorted(path for path in folder.iterdir() if path.is_file())
  for path in written:
    files.sync_file(path)
  files.write_json(
    folder / manifest.FILE,
    {
      "source": noted,
      "examples": digests,
      "files": {path.name: files.sha256(path) for path in written},
    },
  )


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
  """Holds the data set's folder; leaves none behind that is empty."""
  folder.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    os.close(descriptor)
    raise OSError(f"another process prepares {folder}; wait for it") from None
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # it is not empty
      folder.rmdir()
    os.close(descriptor)


def _warnings(one: manifest.Prepared) -> tuple[str, ...]:
  known = manifest.KNOWN.get(one.name)
  if known is None:
    return ()
  missing = set(known.counts) - set(one.splits) - {"extra"}
  return tuple(
    f"{one.name} has no split {split}; as published it has one"
    for split in sorted(missing)
  ) + tuple(
    f"{one.name}/{split} has {count} examples; as published it has "
    f"{known.counts[split]}"
    for split, count in one.splits.items()
    if known.counts.get(split, count) != count
  )


def _settled(
  present: list[manifest.Prepared], noted: dict[str, Any], overwrite: bool
) -> manifest.Prepared | None:
  """The set that is there and right; None if one is to be written."""
  if not present or overwrite:
    return None
  newest = present[-1]
  if newest.manifest is None:
    raise ValueError(newest.fault or f"{newest.path} has no manifest")
  if newest.manifest["source"]["sha256"] != noted["sha256"]:
    raise ValueError(
      f"{newest.path} was made from other files ("
      f"{newest.manifest['source']['layout']}, SHA-256 "
      f"{newest.manifest['source']['sha256'][:12]}; these are "
      f"{noted['layout']}, {noted['sha256'][:12]}): give --overwrite to "
      "replace it, or another --name"
    )
  manifest.verify(newest)
  return newest


def _check_name(name: str, present: list[manifest.Prepared]) -> None:
  if not _NAME.fullmatch(name) or name in RESERVED:
    raise ValueError(
      "name must be lower-case letters, digits and underscores, beginning "
      f"with a letter, and none of {RESERVED}; got {name!r}"
    )
  foreign = [one for one in present if not (one.path / manifest.FILE).exists()]
  if foreign:
    raise ValueError(
      f"{foreign[0].path} was prepared by TFDS itself: nothing to do if it is "
      f"{manifest.ARRAY_RECORD} (it is {foreign[0].file_format}); otherwise "
      "give another --name or --data_dir"
    )


def _silent(done: int, total: int, description: str) -> None:
  del done, total, description


def prepare(
  path: str | pathlib.Path,
  name: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  overwrite: bool = False,
  progress: Progress = _silent,
) -> Outcome:
  """Turns a download into an array_record TFDS data set.

  Args:
    path: what was downloaded; see `sources.recognise`.
    name: under which the data set will be opened.
    data_dir: where to write; see `manifest.data_folder`.
    overwrite: whether to replace one made from other files, or damaged.
    progress: called with (done, total, description).

  Returns:
    The data set; not written again if it is there, whole, and made from the
    same files.

  Raises:
    ValueError: if the source is damaged or unknown, or does not fit the name;
      if the data set is there, but damaged or made from other files.
    FileNotFoundError: if there is no source.
    OSError: if it cannot be written. Nothing half-written is left.
  """
  root = manifest.data_folder(data_dir)
  _check_name(name, manifest.versions(name, root))
  source = sources.recognise(path, name)
  for split in source.splits:
    if not re.fullmatch(r"\w+", split) or split == "all":
      raise ValueError(
        f"splits must be words and none called 'all'; got {split!r}"
      )
  noted = _digest(source, pathlib.Path(path).expanduser(), progress)
  folder = root / name
  with _locked(folder):
    for leftover in folder.glob(f"{files.TEMPORARY}*"):  # of a killed process
      shutil.rmtree(leftover)
    present = manifest.versions(name, root)
    settled = _settled(present, noted, overwrite)
    if settled is not None:
      return Outcome(settled, False, _warnings(settled))
    patch = int(present[-1].version.rpartition(".")[2]) + 1 if present else 0
    version = f"1.0.{patch}"
    draft = folder / f"{files.TEMPORARY}{version}"
    draft.mkdir()
    try:
      _write(name, version, draft, source, noted, progress)
      draft.rename(folder / version)
    except BaseException:
      shutil.rmtree(draft, ignore_errors=True)
      raise
    files.sync_folder(folder)
    for old in present:
      shutil.rmtree(old.path)
  written = manifest.describe(folder / version, name)
  return Outcome(written, True, _warnings(written))
