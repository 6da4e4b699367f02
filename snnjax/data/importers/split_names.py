"""Gives a download's splits the names that training reads: train and test."""

import functools
import types
from collections.abc import Callable, Mapping

import numpy as np

from snnjax.data import selection
from snnjax.data.importers import archives
from snnjax.data.importers.sources import Examples, Source
from snnjax.data.selection import Purpose

NEEDED = ("train", "test")
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "eval", "dev")


class SplitsError(ValueError):
  """A needed split is missing or unknown; the message says what to pass."""


def parse(text: str) -> Mapping[str, str]:
  """Reads ``train:Train,test:Test`` as {"train": "Train", "test": "Test"}.

  Raises:
    SplitsError: if it is written otherwise, or a name is there twice.
  """
  pairs = [
    tuple(p.strip() for p in pair.split(":")) for pair in text.split(",")
  ]
  names = {pair[0]: pair[-1] for pair in pairs}
  sound = all(len(pair) == 2 and all(pair) for pair in pairs)
  if not sound or not len(pairs) == len(names) == len(set(names.values())):
    raise SplitsError(
      "splits must be NAME:SPLIT with commas between, each once, such as "
      f"train:Train,test:Test; got {text!r}"
    )
  return names


def _find_split(
  splits: Mapping[str, object], words: tuple[str, ...]
) -> str | None:
  """The split whose name is the earliest possible of `words`; or None."""
  lower = {name.lower(): name for name in splits}
  return next((lower[word] for word in words if word in lower), None)


def _advice(source: Source) -> str:
  """The flags to pass, guessed from the names of the splits there are."""
  train = _find_split(source.splits, _TRAIN)
  test = _find_split(source.splits, _TEST)
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


def _hold_out(
  load: Callable[[], Examples], share: float, seed: int, *, in_test: bool
) -> Examples:
  """Cuts a split in two, with the same mixture of classes in both parts.

  Args:
    load: opens the split.
    share: of the examples that become the test split.
    seed: which examples those are.
    in_test: whether to return the test part or the rest.

  Raises:
    SplitsError: if one part would be empty.
  """
  examples = load()
  count = round(share * examples.size)
  if not 0 < count < examples.size:
    raise SplitsError(
      f"hold_out must leave examples on both sides of {examples.size}; got "
      f"{share}"
    )
  order = selection.stratified(examples.labels, seed, Purpose.HELD_OUT)
  return examples.part(np.sort(order[:count] if in_test else order[count:]))


def arrange(
  source: Source,
  splits: Mapping[str, str] | None = None,
  hold_out: float = 0.0,
  seed: int = 0,
) -> Source:
  """Renames the splits of a source; can cut a test split from the training.

  Args:
    source: from `downloads.recognise`.
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
  available = list(map(archives.printable, source.splits))
  chosen = splits or {name: name for name in source.splits}
  unknown = set(chosen.values()) - set(source.splits)
  if unknown:
    raise SplitsError(
      f"splits must name some of {available}; got {sorted(unknown)}"
    )
  loaders = {name: source.splits[known] for name, known in chosen.items()}
  if hold_out:
    if not 0 < hold_out < 1 or "train" not in loaders or "test" in loaders:
      raise SplitsError(
        "hold_out must be a share in (0, 1) of a split train, where there is "
        f"no split test; got {hold_out} of {sorted(loaders)}: {_advice(source)}"
      )
    load = loaders["train"]
    for name, in_test in (("train", False), ("test", True)):
      loaders[name] = functools.partial(
        _hold_out, load, hold_out, seed, in_test=in_test
      )
  if splits is None and not set(NEEDED) <= set(loaders):
    raise SplitsError(
      f"training needs the splits {list(NEEDED)}; the source, "
      f"{source.layout}, has {available}: {_advice(source)}"
    )
  left = {
    f"split {archives.printable(name)}": 0
    for name in source.splits
    if name not in chosen.values()
  }
  return source._replace(
    splits=types.MappingProxyType(loaders), left_out={**source.left_out, **left}
  )
