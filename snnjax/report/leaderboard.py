"""An evaluated network as one entry of a leaderboard.

The entry has the fields of RobustBench's model cards, and those without which
the robust accuracy of a spiking network cannot be compared.
"""

import itertools
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from snnjax.intervals import Interval
from snnjax.storage import files, identity

SCHEMA = "snnjax.leaderboard"
VERSION = 2
NORMS = ("linf", "l2", "l1", "l0")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VENUE = re.compile(r".*\d{4}")


class Paper(NamedTuple):
  """Where a network is from; RobustBench's words, empty where unknown.

  Attributes:
    name: of the entry, unique on its board.
    title: of the publication ("paper" on RobustBench).
    link: its address.
    authors: with commas between.
    venue: such as "NeurIPS 2026", with the year; "Unpublished" without.
    footnote: what a reader must know.
  """

  name: str
  title: str = ""
  link: str = ""
  authors: str = ""
  venue: str = "Unpublished"
  footnote: str = ""


class Spiking(NamedTuple):
  """The parts that make a network a spiking one.

  Attributes:
    steps: T, the number of time steps.
    encoder: of the inputs into spikes or currents.
    neuron: of the hidden layers.
    rule: the backward rule of training.
  """

  steps: int
  encoder: str
  neuron: str
  rule: str


class Robustness(NamedTuple):
  """The results of the attacks, and how far they can be trusted.

  Attributes:
    norms: of the threats, some of `NORMS`.
    epsilon: by norm, the radius in units of the inputs, in l0 a number of
      sites; one for each modality that is attacked.
    suite: of attacks.
    attacks: their names, in the order they were run.
    rules: backward rules they differentiated.
    examples: how many were evaluated.
    clean: accuracy on the clean examples.
    robust: worst case per example over all attacks of all norms
      ("autoattack_acc" on RobustBench, where the suite is AutoAttack), with
      those that were run in smaller balls inside this one.
    robust_by_norm: the same of each norm alone.
    success: the attacks' success rate over the correct examples.
    reported: the robust accuracy that the publication claims, if it does.
    zero_gradient_fraction: of examples whose input gradient is exactly zero,
      at the clean input, at a random point of the ball or along the attack.
    alarms: names of the alarms that fired, the gravest first.
    undecided: names of those that so few examples do not decide.
    unchecked: names of those that were not checked.
    passed: names of those that were checked and did not fire.
    depends_on_batch: names of the attacks whose results depend on the batch
      that they were run in, since their gradient takes statistics of it.
    batch: the size of that; None where nothing depends on it.
  """

  norms: Sequence[str]
  epsilon: Mapping[str, Mapping[str, float]]
  suite: str
  attacks: Sequence[str]
  rules: Sequence[str]
  examples: int
  clean: Interval
  robust: Interval
  robust_by_norm: Mapping[str, Interval]
  success: Interval
  reported: float | None = None
  zero_gradient_fraction: float | None = None
  alarms: Sequence[str] = ()
  undecided: Sequence[str] = ()
  unchecked: Sequence[str] = ()
  passed: Sequence[str] = ()
  depends_on_batch: Sequence[str] = ()
  batch: int | None = None


class Entry(NamedTuple):
  """One entry.

  Attributes:
    paper: where the network is from.
    dataset: it was evaluated on.
    data: how that was made and which part was used, as JSON holds it: from
      which files, with their SHA-256, by which importer, in which order, how
      many examples of each class.
    architecture: in words.
    method: of training.
    additional_data: whether it was trained on more than the data set's own
      training examples.
    spiking: what makes it a spiking network.
    robustness: what it withstood.
    seeds: of training, of the networks that `robustness` is about.
    checkpoint_sha256: of the file of its weights, 64 hexadecimal digits.
    software: versions, by package.
    made_from: what the numbers were made from, by name a SHA-256.
    precision: how exactly products were computed, by purpose, such as
      "training" and "attacks and measurements"; None where that is not known.
    kernel: how neurons were computed, "scan" or "fused", by purpose; None
      where that is not known.
  """

  paper: Paper
  dataset: str
  data: Mapping[str, Any]
  architecture: str
  method: str
  additional_data: bool
  spiking: Spiking
  robustness: Robustness
  seeds: Sequence[int]
  checkpoint_sha256: str
  software: Mapping[str, str]
  made_from: Mapping[str, str]
  precision: Mapping[str, str] | None = None
  kernel: Mapping[str, str] | None = None


def document(entries: Sequence[Entry]) -> dict[str, Any]:
  """Returns the entries as a JSON document holds them.

  ``{"schema": "snnjax.leaderboard", "version": 2, "entries": [...]}``. Each
  entry has the fields of `Entry`, with `Paper`, `Spiking` and `Robustness`
  laid out flat beside them; an `Interval` becomes three keys, ``clean``,
  ``clean_low`` and ``clean_high``. What is not known is null. RobustBench's
  ``unreliable`` is true where an alarm fired, false where all checks that
  apply have passed, and null where some came to no result. Accuracies are
  shares, where RobustBench has percentages.

  Args:
    entries: each is checked, see `check`.

  Raises:
    ValueError: an entry has a value that is not allowed, or two have one name.
  """
  names = [entry.paper.name for entry in entries]
  # A board is read by name: two rows of one name could not be told apart.
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f"name must be unique on a leaderboard; twice: {twice}")
  for entry in entries:
    check(entry)
  return {
    "schema": SCHEMA,
    "version": VERSION,
    "entries": [_flatten(entry) for entry in entries],
  }


def write(path: pathlib.Path, entries: Sequence[Entry]) -> None:
  """Writes entries as a JSON file, with the digest of what it holds.

  Args:
    path: the file to create or replace; its folder exists.
    entries: see `document`.

  Raises:
    ValueError: an entry has a value that is not allowed.
    OSError: the file cannot be written; the old one is intact.
  """
  files.write_sealed(path, document(entries))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads the entries that `write` wrote, each flat as in `document`.

  Args:
    path: an existing file.

  Raises:
    OSError: the file cannot be read.
    DamagedError: it holds anything but what was written.
    ForeignError: it is no leaderboard of this version.
  """
  remedy = "write the report again"
  content = files.read_sealed(path, remedy)
  kind = (content.get("schema"), content.get("version"))
  if kind != (SCHEMA, VERSION):
    raise identity.ForeignError(
      f"{path} must be a {SCHEMA} of version {VERSION}; it is {kind}: {remedy}"
    )
  entries: list[dict[str, Any]] = content["entries"]
  return entries


def check(entry: Entry) -> None:
  """Raises ValueError unless an entry can be on a leaderboard.

  The message names the field, what came and what is allowed.
  """
  paper, spiking, robustness = entry.paper, entry.spiking, entry.robustness
  _check_texts(paper, spiking, entry)
  if paper.venue != "Unpublished" and not _VENUE.fullmatch(paper.venue):
    _refuse("venue", paper.venue, "'Unpublished', or end with a year")
  if paper.link and not paper.link.startswith(("https://", "http://")):
    _refuse("link", paper.link, "empty, or an address that starts with https")
  _check_names("norms", robustness.norms)
  for norm in robustness.norms:
    if norm not in NORMS:
      _refuse("norms", norm, f"some of {list(NORMS)}")
  flag: Any = entry.additional_data
  if not isinstance(flag, bool):
    _refuse("additional_data", flag, "true or false")
  _check_epsilon(robustness)
  for name, count in (
    ("examples", robustness.examples),
    ("steps", spiking.steps),
  ):
    if not _is_integer(count) or count < 1:
      _refuse(name, count, "a whole number of at least 1")
  for name in ("attacks", "rules"):
    _check_names(name, getattr(robustness, name))
  _check_batch(robustness)
  _check_shares(robustness)
  if not entry.seeds or not all(map(_is_integer, entry.seeds)):
    _refuse("seeds", list(entry.seeds), "one or more whole numbers")
  if not _DIGEST.fullmatch(entry.checkpoint_sha256):
    _refuse(
      "checkpoint_sha256",
      entry.checkpoint_sha256,
      "64 hexadecimal digits in lower case",
    )
  if not {"name", "source"} <= set(entry.data):
    _refuse("data", dict(entry.data), "a mapping with its name and its source")
  for name in ("data", "parameters"):
    digest = entry.made_from.get(name)
    if not _DIGEST.fullmatch(digest or ""):
      _refuse(f"made_from.{name}", digest, "a SHA-256")
  for field in ("precision", "kernel"):
    names: Mapping[str, str] | None = getattr(entry, field)
    if names is not None and not (names and all(map(_is_text, names.values()))):
      _refuse(field, dict(names), "None, or a name for each purpose")
  for name in ("python", "snnjax", "jax"):
    if not entry.software.get(name):
      _refuse(f"software.{name}", entry.software.get(name), "a version")


def _check_epsilon(robustness: Robustness) -> None:
  norms = list(robustness.norms)
  for field in ("epsilon", "robust_by_norm"):
    by_norm = getattr(robustness, field)
    if set(by_norm) != set(norms):
      _refuse(field, sorted(by_norm), f"a mapping with every norm of {norms}")
  for norm, radii in robustness.epsilon.items():
    if not radii:
      _refuse(f"epsilon.{norm}", dict(radii), "a radius for each modality")
    for name, radius in radii.items():
      if not (_is_finite(radius) and radius > 0):
        _refuse(f"epsilon.{norm}.{name}", radius, "a finite number above 0")


def _check_batch(robustness: Robustness) -> None:
  if not robustness.depends_on_batch:
    if robustness.batch is not None:
      _refuse("batch", robustness.batch, "None where nothing depends on it")
  elif (
    robustness.batch is None
    or not _is_integer(robustness.batch)
    or robustness.batch < 1
  ):
    allowed = f"the size that {list(robustness.depends_on_batch)} depend on"
    _refuse("batch", robustness.batch, allowed)


def _check_texts(paper: Paper, spiking: Spiking, entry: Entry) -> None:
  needed = {
    "name": paper.name,
    "venue": paper.venue,
    "dataset": entry.dataset,
    "architecture": entry.architecture,
    "method": entry.method,
    "encoder": spiking.encoder,
    "neuron": spiking.neuron,
    "rule": spiking.rule,
    "suite": entry.robustness.suite,
  }
  for name, value in needed.items():
    if not isinstance(value, str) or not value.strip():
      _refuse(name, value, "a text that is not empty")
  for name, value in paper._asdict().items():
    if not isinstance(value, str):
      _refuse(name, value, "a text")


def _check_shares(robustness: Robustness) -> None:
  named = {
    name: getattr(robustness, name) for name in ("clean", "robust", "success")
  }
  for norm, interval in robustness.robust_by_norm.items():
    named[f"robust_by_norm.{norm}"] = interval
  for name, interval in named.items():
    if name == "success" and math.isnan(interval.estimate):
      continue  # nothing was correct, so nothing could be broken
    # One chain of comparisons: the ends are shares and hold the estimate.
    values = (0.0, interval.low, interval.estimate, interval.high, 1.0)
    ordered = all(a <= b for a, b in itertools.pairwise(values))
    if not all(map(_is_finite, values)) or not ordered:
      _refuse(name, tuple(interval), "low <= estimate <= high within 0..1")
  bounds = {"the clean accuracy": robustness.clean}
  for norm, interval in robustness.robust_by_norm.items():
    bounds[f"that in {norm}"] = interval
  for words, bound in bounds.items():
    if robustness.robust.estimate > bound.estimate:
      _refuse(
        "robust",
        robustness.robust.estimate,
        f"at most {words}, {bound.estimate}",
      )
  for name in ("reported", "zero_gradient_fraction"):
    value = getattr(robustness, name)
    if value is not None and not (_is_finite(value) and 0 <= value <= 1):
      _refuse(name, value, "None or a share within 0..1")


def _check_names(field: str, values: Sequence[str]) -> None:
  if isinstance(values, str) or not values or not all(values):
    _refuse(field, values, "one or more names")


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value.strip())


def _is_finite(value: Any) -> bool:
  real = isinstance(value, int | float) and not isinstance(value, bool)
  return real and math.isfinite(value)


def _is_integer(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _refuse(field: str, value: Any, allowed: str) -> None:
  raise ValueError(f"{field} must be {allowed}; got {value!r}")


def _flatten(entry: Entry) -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for field, value in entry._asdict().items():
    if isinstance(value, Paper | Spiking | Robustness):
      for name, inner in value._asdict().items():
        flat |= _plain(name, inner)
    else:
      flat |= _plain(field, value)
  return flat | {"unreliable": _unreliable(entry.robustness)}


def _unreliable(robustness: Robustness) -> bool | None:
  """Whether an alarm fired; None where that is not known of all checks."""
  if robustness.alarms:
    return True
  known = robustness.passed and not (
    robustness.undecided or robustness.unchecked
  )
  return False if known else None


def _plain(name: str, value: Any) -> dict[str, Any]:
  if isinstance(value, Interval):
    return {
      name: None if math.isnan(value.estimate) else value.estimate,
      f"{name}_low": value.low,
      f"{name}_high": value.high,
    }
  if isinstance(value, Mapping):
    inner = {key: _plain("share", each) for key, each in value.items()}
    return {
      name: {
        key: plain if isinstance(value[key], Interval) else value[key]
        for key, plain in inner.items()
      }
    }
  if isinstance(value, Sequence) and not isinstance(value, str):
    return {name: list(value)}
  return {name: value}
