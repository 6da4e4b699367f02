"""Writes array_record TFDS data sets from downloads, without TensorFlow.

A set is written to a temporary folder beside its place, read back and
compared with the source example by example, given a manifest with checksums,
and only then renamed. So a data set is either complete or not there. A second
preparation from other sources becomes a new version; the old version is
removed once the new one is in place.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from snnjax import prng
from snnjax.data import (
  counts,
  image_files,
  manifest,
  prepared,
  registry,
  selection,
)
from snnjax.data.importers import (
  archives,
  array_record,
  downloads,
  sources,
  split_names,
)
from snnjax.storage import files, locks

RESERVED = (registry.EMBEDDED,)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DRAFT = re.compile(re.escape(files.TEMPORARY) + r"\d+\.\d+\.\d+")
_CHOSEN = ("importer", "shuffle_seed", "splits", "hold_out")


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
  source: sources.Source, root: pathlib.Path, progress: array_record.Progress
) -> dict[str, Any]:
  """What a manifest says of the source: one digest over names and content."""
  digests: dict[str, str] = {}
  size = 0
  base = root if root.is_dir() else root.parent
  named = {str(path.relative_to(base)): path for path in source.files}
  # In whichever folder they are: they come from elsewhere.
  named |= {f"images/{path.name}": path for path in source.images}
  total = len(named)
  for done, (name, path) in enumerate(named.items()):
    digests[name] = files.sha256(path)
    size += path.stat().st_size
    if (done + 1) % array_record.CHUNK == 0 or done + 1 == total:
      progress(done + 1, total, "hash source files")
  lines = "".join(
    f"{digest}  {name}\n" for name, digest in sorted(digests.items())
  )
  content = lines.encode("utf-8", "surrogateescape")  # as the disk has names
  noted: dict[str, Any] = {
    "layout": source.layout,
    "sha256": hashlib.sha256(content).hexdigest(),
    "count": total,
    "bytes": size,
  }
  if total <= 32:  # archives; a folder of images has too many to list
    noted["files"] = digests
  return noted


def _compare(
  folder: pathlib.Path,
  name: str,
  classes: tuple[str, ...],
  modalities: Collection[str],
  digests: dict[str, str],
  progress: array_record.Progress,
) -> None:
  """Raises unless the written set reads back exactly as the source was."""
  written = manifest.describe(folder, name)
  if written.fault:
    raise OSError(f"{written.fault}, as just written; is the disk full?")
  for split, expected in digests.items():
    stored = prepared.open_stored(written, split, modalities)
    if stored.classes != classes:
      raise ValueError(
        f"{folder}: the classes read back as {stored.classes}; they were "
        f"written as {classes}"
      )
    digest = hashlib.sha256()
    for begin in range(0, stored.size, array_record.CHUNK):
      rows = range(begin, min(begin + array_record.CHUNK, stored.size))
      for example, label in stored.read(rows):
        array_record.update(digest, example, label)
      progress(rows.stop, stored.size, f"verify {split}")
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
  progress: array_record.Progress,
) -> None:
  """Fills `folder` with a whole data set and its manifest."""
  writer = array_record.Writer(name, version, folder, source)
  digests, counted = {}, {}
  for split, load in source.splits.items():
    examples = load()
    order = selection.permutation(
      examples.size, noted["made"]["shuffle_seed"], selection.Purpose.WRITING
    )
    digests[split] = writer.write(split, examples.part(order), progress)
    counted[split] = counts.per_class(examples.labels, len(source.classes))
  modalities = writer.modalities
  _compare(folder, name, source.classes, modalities, digests, progress)
  written = sorted(path for path in folder.iterdir() if path.is_file())
  for path in written:
    files.sync_file(path)
  files.write_sealed(
    folder / manifest.FILE,
    {
      **noted,
      "classes": source.classes,
      "counts": counted,
      "examples": digests,
      "modalities": modalities,
      "files": {path.name: files.sha256(path) for path in written},
    },
  )


@contextlib.contextmanager
def _hold_alone(folder: pathlib.Path) -> Iterator[None]:
  """Locks the data set's folder for this process alone.

  Unfinished drafts of killed processes are removed at the start, the folder
  itself at the end if it is empty.

  Raises:
    OSError: another process has the lock.
  """
  descriptor = _open_folder(folder)
  try:
    _take(descriptor, folder, shared=False)
    for leftover in _drafts(folder):
      shutil.rmtree(leftover)
    yield
  finally:
    with contextlib.suppress(OSError):  # it is not empty
      folder.rmdir()
    os.close(descriptor)


@contextlib.contextmanager
def _hold_shared(folder: pathlib.Path) -> Iterator[None]:
  """Locks an existing folder together with other readers of the set.

  Raises:
    OSError: another process prepares the set.
  """
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    _take(descriptor, folder, shared=True)
    yield
  finally:
    os.close(descriptor)


def _open_folder(folder: pathlib.Path) -> int:
  """Makes and opens a folder, again if another process removes it between."""
  while True:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
      return os.open(folder, os.O_RDONLY)


def _take(descriptor: int, folder: pathlib.Path, *, shared: bool) -> None:
  lock = locks.take(descriptor, shared=shared)
  gone = os.fstat(descriptor).st_nlink == 0
  if lock is locks.Lock.BUSY or gone:
    raise OSError(f"another process prepares {folder}; wait for it")


def _drafts(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in folder.iterdir() if _DRAFT.fullmatch(path.name)]


def _sweep(root: pathlib.Path) -> None:
  """Removes unfinished drafts of killed processes, of all data sets."""
  for folder in sorted(root.glob("*/")):
    with contextlib.suppress(OSError):  # another process is there
      if _NAME.fullmatch(folder.name) and _drafts(folder):
        with _hold_alone(folder):
          pass


def _warnings(data_set: manifest.Prepared) -> tuple[str, ...]:
  """What a user should know of a prepared set: one line per warning."""
  noted = data_set.manifest or {}
  choices = noted.get("made", {})
  lines = [
    f"{data_set.name}/{split}: {fault}"
    for split, counted in noted.get("counts", {}).items()
    if (fault := counts.fault(counted, noted["classes"]))
  ]
  if left := choices.get("left_out"):
    listed = archives.join_names(
      f"{name} ({number})" if number else name for name, number in left.items()
    )
    lines.append(f"{data_set.name}: not read, left out: {listed}")
  known = manifest.KNOWN.get(data_set.name)
  if known is None:
    return tuple(lines)
  lines += [
    f"{data_set.name}: {number:,} images are {kind}, which loses detail; as "
    "published none is: say so beside any result"
    for kind, number in choices.get("formats", {}).items()
    if kind in image_files.LOSSY
  ]
  missing = set(known.counts) - set(data_set.splits) - {"extra"}
  lines += [
    f"{data_set.name} has no split {split}; as published it has one"
    for split in sorted(missing)
  ]
  lines += [
    f"{data_set.name}/{split} has {count} examples; as published it has "
    f"{known.counts[split]}"
    for split, count in data_set.splits.items()
    if known.counts.get(split, count) != count
  ]
  return tuple(lines)


def _find_unchanged(
  present: list[manifest.Prepared], noted: dict[str, Any], overwrite: bool
) -> manifest.Prepared | None:
  """Returns the prepared set if it is the one asked for.

  Args:
    present: the versions there are, the newest last.
    noted: the source and the choices of the set asked for.
    overwrite: whether to write it again in any case.

  Returns:
    The newest version; None if a set must be written.

  Raises:
    ValueError: if the newest version is damaged, or was made from other files
      or with other choices.
  """
  if not present or overwrite:
    return None
  newest = present[-1]
  if newest.manifest is None:
    raise ValueError(f"{newest.fault}: give --overwrite to prepare it again")
  was, now = newest.manifest["source"], noted["source"]
  if was["sha256"] != now["sha256"]:
    raise ValueError(
      f"{newest.path} was made from other files ({was['layout']}, SHA-256 "
      f"{was['sha256'][:12]}; these are {now['layout']}, "
      f"{now['sha256'][:12]}): give --overwrite to replace it, or another "
      "--name"
    )
  changed = [
    f"{key} {newest.manifest['made'][key]} -> {noted['made'][key]}"
    for key in _CHOSEN
    if newest.manifest["made"][key] != noted["made"][key]
  ]
  if changed:
    raise ValueError(
      f"{newest.path} was made otherwise (there -> now: {'; '.join(changed)}): "
      "give --overwrite to replace it, or another --name"
    )
  manifest.verify(newest, newest.splits)
  return newest


def _check_name(name: str, present: list[manifest.Prepared]) -> None:
  if not _NAME.fullmatch(name) or name in RESERVED:
    raise ValueError(
      "name must be lower-case letters, digits and underscores, beginning "
      f"with a letter, and none of {RESERVED}; got {name!r}"
    )
  foreign = [
    prepared_set
    for prepared_set in present
    if not (prepared_set.path / manifest.FILE).exists()
  ]
  if foreign:
    raise ValueError(
      f"{foreign[0].path} was prepared by TFDS itself (it has no "
      f"{manifest.FILE}): nothing to do if it can be read "
      f"({foreign[0].fault or 'it can'}); otherwise remove it, or give another "
      "--name or --data_dir"
    )


def _check_source(source: sources.Source, path: pathlib.Path) -> None:
  """Refuses names that the written set could not hold as they are."""
  for split in source.splits:
    if not re.fullmatch(r"\w+", split) or split == "all":
      raise ValueError(
        f"splits must be words and none called 'all'; got {split!r}: name them "
        "with --splits=train:NAME,test:NAME"
      )
  for name in source.classes:
    if not name or name != archives.printable(name) or name != name.strip():
      raise ValueError(
        f"{path}: class names must be one line of valid text, without spaces "
        f"at the ends; got {archives.printable(name)!r}: rename it"
      )
  if len(set(source.classes)) < len(source.classes):
    listed = archives.join_names(source.classes)
    raise ValueError(f"{path}: class names must differ; got {listed}")


def _ignore_progress(done: int, total: int, description: str) -> None:
  del done, total, description


def prepare(
  path: str | pathlib.Path,
  name: str,
  data_dir: str | pathlib.Path | None = None,
  *,
  images: str | pathlib.Path | None = None,
  overwrite: bool = False,
  splits: Mapping[str, str] | None = None,
  hold_out: float = 0.0,
  seed: int = 0,
  progress: array_record.Progress = _ignore_progress,
) -> Outcome:
  """Turns a download into an array_record TFDS data set.

  Args:
    path: what was downloaded; see `downloads.recognise`.
    name: under which the data set will be opened.
    data_dir: where to write; see `manifest.data_folder`.
    images: the IDX files whose images the source's recordings are of; see
      `downloads.recognise`.
    overwrite: whether to replace one made from other files, or otherwise, or
      damaged.
    splits: names of splits, see `split_names.arrange`.
    hold_out: share of the training examples for the test split, likewise.
    seed: of the order that the examples are written in, so that no part of
      the set is one class alone; and of what is held out.
    progress: called with (done, total, description).

  Returns:
    The data set; not written again if it is there, whole, and made from the
    same files.

  Raises:
    ValueError: if the source is damaged or unknown, or does not fit the name;
      if it has no train or test split and `splits` names none; if the data
      set is there, but damaged or made from other files, or otherwise.
    FileNotFoundError: if there is no source.
    OSError: if it cannot be written. Nothing half-written is left.
  """
  root = manifest.data_folder(data_dir)
  _check_name(name, manifest.versions(name, root))
  prng.check_seed(seed)
  path = pathlib.Path(path).expanduser()
  download = downloads.recognise(path, name, images)
  source = split_names.arrange(download, splits, hold_out, seed)
  _check_source(source, path)
  noted = {
    "source": _digest(source, path, progress),
    "made": {
      "importer": manifest.IMPORTER,
      "shuffle_seed": seed,
      "splits": dict(splits or {}),
      "hold_out": hold_out,
      "formats": dict(source.formats),
      "left_out": dict(source.left_out),
    },
  }
  folder = root / name
  _sweep(root)
  if folder.is_dir():
    with _hold_shared(folder):
      present = manifest.versions(name, root)
      unchanged = _find_unchanged(present, noted, overwrite)
      if unchanged is not None:
        return Outcome(unchanged, False, _warnings(unchanged))
  with _hold_alone(folder):
    present = manifest.versions(name, root)
    unchanged = _find_unchanged(present, noted, overwrite)
    if unchanged is not None:
      return Outcome(unchanged, False, _warnings(unchanged))
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
