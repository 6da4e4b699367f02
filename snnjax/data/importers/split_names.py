"""The splits of a source under the names that training reads."""

import functools
import types
from collections.abc import Callable, Mapping

import numpy as np

from snnjax.data import selection
from snnjax.data.importers import archives
from snnjax.data.importers.downloads import Examples, Source
from snnjax.data.selection import Purpose

NEEDED = ("train", "test")
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "eval", "dev")


class SplitsError(ValueError):
  """A source has other splits than are needed; the message says what to do."""


def parsed(text: str) -> Mapping[str, str]:
  """Reads ``train:Train,test:Test`` as {"train": "Train", "test": "Test"}.

  Raises:
    SplitsError: if it is written otherwise, or a name is there twice.
  """
  pairs = [
    tuple(p.strip() for p in pair.split(":")) for pair in text.split(",")
  ]
  wanted = {pair[0]: pair[-1] for pair in pairs}
  sound = all(len(pair) == 2 and all(pair) for pair in pairs)
  if not sound or not len(pairs) == len(wanted) == len(set(wanted.values())):
    raise SplitsError(
      "splits must be NAME:SPLIT with commas between, each once, such as "
      f"train:Train,test:Test; got {text!r}"
    )
  return wanted


def _like(found: Mapping[str, object], words: tuple[str, ...]) -> str | None:
  """The split called by one of some words, the first of them first."""
  lower = {name.lower(): name for name in found}
  return next((lower[word] for word in words if word in lower), None)


def _advice(source: Source) -> str:
  train, test = _like(source.splits, _TRAIN), _like(source.splits, _TEST)
  if train and test:
    return f"give --splits=train:{train},test:{test}"
  if test:
    return f"give --splits=test:{test} to prepare it for evaluations alone"
  if train or len(source.splits) == 1:
    name = train or next(iter(source.splits))
    named = "" if name == "train" else f"--splits=train:{name} "
    return (
      f"give {named}--hold_out=0.2 to hold a fifth of its examples out as the "
      "test split"
    )
  return "give --splits=train:NAME,test:NAME, with two of these names"


def _held_out(
  load: Callable[[], Examples], share: float, seed: int, *, held: bool
) -> Examples:
  """One side of a split of which a share is held out, of each class."""
  examples = load()
  count = round(share * examples.size)
  if not 0 < count < examples.size:
    raise SplitsError(
      f"hold_out must leave examples on both sides of {examples.size}; got "
      f"{share}"
    )
  order = selection.stratified(examples.labels, seed, Purpose.HELD_OUT)
  return examples.part(np.sort(order[:count] if held else order[count:]))


def arranged(
  source: Source,
  splits: Mapping[str, str] | None = None,
  hold_out: float = 0.0,
  seed: int = 0,
) -> Source:
  """Names the splits of a source, and holds a part out where there is none.

  Args:
    source: what was found.
    splits: the name to prepare each split under -> its name in the source;
      the others are left out. None keeps all, which must then have a train
      and a test split.
    hold_out: share of the training examples, of each class, that becomes the
      test split; 0 for none.
    seed: which examples those are.

  Raises:
    SplitsError: if a split is unknown or missing; the message says what to
      give.
  """
  found = list(map(archives.shown, source.splits))
  wanted = splits or {name: name for name in source.splits}
  unknown = set(wanted.values()) - set(source.splits)
  if unknown:
    raise SplitsError(
      f"splits must name some of {found}; got {sorted(unknown)}"
    )
  kept = {name: source.splits[known] for name, known in wanted.items()}
  if hold_out:
    if not 0 < hold_out < 1 or "train" not in kept or "test" in kept:
      raise SplitsError(
        "hold_out must be a share in (0, 1) of a split train, where there is "
        f"no split test; got {hold_out} of {sorted(kept)}: {_advice(source)}"
      )
    load = kept["train"]
    for name, held in (("train", False), ("test", True)):
      kept[name] = functools.partial(_held_out, load, hold_out, seed, held=held)
  if splits is None and not set(NEEDED) <= set(kept):
    raise SplitsError(
      f"training needs the splits {list(NEEDED)}; the source, "
      f"{source.layout}, has {found}: {_advice(source)}"
    )
  left = {
    f"split {archives.shown(name)}": 0
    for name in source.splits
    if name not in wanted.values()
  }
  return source._replace(
    splits=types.MappingProxyType(kept), left_out={**source.left_out, **left}
  )
