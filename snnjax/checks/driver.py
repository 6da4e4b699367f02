"""Measures what the alarms look at, by attacking a network in many ways.

Give it a part of the test set: every function of `measurements` is run,
and that of `gradients`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from snnjax.checks.alarms import Measurements
from snnjax.checks.gradients import measure_gradient
from snnjax.checks.measurements import (
  measure_batch,
  measure_gradient_free,
  measure_large,
  measure_losses,
  measure_noise,
  measure_one_step,
  measure_products,
  measure_radii,
  measure_randomness,
  measure_restarts,
  measure_rules,
  measure_search,
  measure_steps,
)
from snnjax.checks.target import Examples, Subject, run_attack
from snnjax.interfaces import PyTree


class Effort(NamedTuple):
  """How many draws and queries the measurements may use.

  Attributes:
    restarts: how many random starts to compare with one.
    pairs: of queries, for a step without a gradient.
    directions: along which gradients are compared with differences.
    noise: random samples of the attack without any gradient.
    queries: of each of the searches, Square and HopSkipJump.
    alone: how many examples to attack on their own.
  """

  restarts: int = 10
  pairs: int = 32
  directions: int = 32
  noise: int = 320
  queries: int = 640
  alone: int = 4


Part = Callable[[], Measurements]


def measure(
  subject: Subject, examples: Examples, effort: Effort | None = None
) -> Measurements:
  """Returns everything that can be measured from outside.

  Not measured here: a change of normalisation statistics (see
  `statistics_change`) and the examples that were used for tuning.

  Args:
    subject: the network and the reported attack.
    examples: what to attack.
    effort: how much to spend; `Effort` by default.

  Raises:
    ValueError: if a count is below one.
  """
  measurements = parts(subject, examples, effort or Effort())
  return merge(*(part() for part in measurements.values()))


def parts(
  subject: Subject, examples: Examples, effort: Effort
) -> Mapping[str, Part]:
  """Returns the parts of `measure` as functions without arguments, by name.

  Nothing is measured until one is called: a caller that may be interrupted
  saves each result before it calls the next. The reported attack, which most
  parts need, is run by the first that needs it and then remembered.

  Args:
    subject: as in `measure`.
    examples: as in `measure`.
    effort: as in `measure`.
  """
  # Lazily: a caller that resumes may find all parts that need it done.
  reported = functools.cache(lambda: run_attack(subject, examples))
  return {
    "products": lambda: measure_products(subject, examples),
    "randomness": lambda: measure_randomness(subject, examples),
    "gradient": lambda: measure_gradient(
      subject, examples, directions=effort.directions
    ),
    "one_step": lambda: measure_one_step(subject, examples, reported()),
    "steps": lambda: measure_steps(subject, examples, reported()),
    "losses": lambda: measure_losses(subject, examples, reported()),
    "restarts": lambda: measure_restarts(
      subject, examples, restarts=effort.restarts
    ),
    "batch": lambda: measure_batch(
      subject, examples, reported(), alone=effort.alone
    ),
    "rules": lambda: measure_rules(subject, examples, reported()),
    "radii": lambda: measure_radii(subject, examples, reported()),
    "large": lambda: measure_large(subject, examples),
    "noise": lambda: measure_noise(
      subject, examples, reported(), draws=effort.noise
    ),
    "gradient_free": lambda: measure_gradient_free(
      subject, examples, reported(), pairs=effort.pairs
    ),
    "search": lambda: measure_search(
      subject, examples, reported(), queries=effort.queries
    ),
  }


def merge(*results: Measurements) -> Measurements:
  """Returns one record with the measurements of all parts.

  Counts (of outputs, of those outside the threat, ...) are added, since each
  part counts attacks of its own; mappings are joined. In all other fields the
  last part that measured it wins.
  """
  counts = ("outside", "non_finite", "outputs", "disagreeing_claims")
  values: dict = {}
  for part in results:
    for name, value in part._asdict().items():
      if value is None:
        continue
      before = values.get(name)
      # Accuracies are not added: the later measurement replaces the earlier
      # one.
      if name in counts and before is not None:
        value = before + value
      elif isinstance(value, Mapping) and before is not None:
        value = {**before, **value}
      values[name] = value
  return Measurements(**values)


def statistics_change(before: PyTree, after: PyTree) -> float:
  """Returns the largest change of any normalisation statistic.

  Args:
    before: the statistics the attack started from, ``batch_stats``.
    after: those after it, of the same structure.
  """
  changes = jax.tree.map(
    lambda old, new: np.max(np.abs(np.asarray(new) - np.asarray(old))),
    before,
    after,
  )
  return float(max(jax.tree.leaves(changes), default=0.0))
