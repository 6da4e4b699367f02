"""How often intervals over few seeds cover the difference that is true.

Each simulated experiment trains two arms with S seeds and tests each network
on 500 examples. `python -m tests.replication.coverage_test` counts `TABLE`
anew, in some minutes; the tests count a tenth as many experiments.
"""

import functools
import sys

import numpy as np
import pytest

from snnjax.replication import hierarchical_bootstrap, paired_contrast

EXAMPLES, RESAMPLES = 500, 400
SIZES = (600, 150, 150)  # experiments of the tests, as in `TABLE`
TRUTH = 0.05


def normal(generator, size):
  return generator.normal(size=(2, *size))


def both_skewed(generator, size):
  """Exponential, of skewness 2."""
  return generator.exponential(size=(2, *size)) - 1.0


def one_skewed(generator, size):
  """Now and then a seed of the treated arm is far better; no control is."""
  effects = both_skewed(generator, size)
  effects[1] = 0.0
  return effects


# The law of the seeds' accuracies and their standard deviation (500 examples
# add 0.022 to it), the number of seeds, and how many of a hundred intervals of
# 95 % cover: the paired t interval, the bootstrap of seeds alone, and the
# hierarchical one; of 10,000, 2,000 and 2,000 experiments.
TABLE = [
  (normal, 0.02, 5, (94.6, 83.8, 95.8)),
  (normal, 0.02, 8, (95.2, 88.4, 97.2)),
  (normal, 0.06, 5, (95.1, 83.2, 87.7)),
  (normal, 0.06, 8, (95.4, 88.2, 91.5)),
  (both_skewed, 0.06, 5, (96.1, 82.8, 88.3)),
  (both_skewed, 0.06, 8, (95.8, 88.4, 92.2)),
  (one_skewed, 0.06, 5, (92.6, 79.0, 90.0)),
  (one_skewed, 0.06, 8, (92.9, 85.8, 92.0)),
]
CASES = pytest.mark.parametrize(("law", "spread", "seeds", "known"), TABLE)


@functools.cache
def coverage(law, spread, seeds, experiments=SIZES[0], bootstrapped=SIZES[1]):
  """Of a hundred intervals, how many cover, in the order of `TABLE`."""
  generator = np.random.default_rng(seeds)
  effects = spread * law(generator, (experiments, seeds))
  # Out of a million accuracies some fifty would be above 1.
  treated, control = np.clip(0.4 + effects + [[[TRUTH]], [[0.0]]], 0, 1)
  first, second = treated * (1 - control), control * (1 - treated)
  counts = generator.multinomial(
    EXAMPLES, np.stack([first, second, 1 - first - second], -1)
  )
  means = (counts[..., 0] - counts[..., 1]) / EXAMPLES
  return (
    share([paired_contrast(*arms(row)) for row in means]),
    share(bootstrapped_intervals(means[:bootstrapped, :, None])),
    share(
      bootstrapped_intervals(
        [np.repeat([1, -1, 0], one) for one in row]
        for row in counts[:bootstrapped]
      )
    ),
  )


def bootstrapped_intervals(experiments):
  return [
    hierarchical_bootstrap(*arms(row), seed=place, resamples=RESAMPLES)
    for place, row in enumerate(experiments)
  ]


def arms(differences):
  """Two arms of these differences: all of them are the treated one's."""
  treated = dict(enumerate(differences))
  return treated, {seed: 0 * value for seed, value in treated.items()}


def share(intervals):
  return 100 * np.mean([i.low <= TRUTH <= i.high for i in intervals])


def error(percentage, experiments):
  """The standard error of a share of experiments, in percent."""
  rest = percentage * (100 - percentage)
  return (rest / experiments) ** 0.5


@CASES
def test_intervals_cover_as_measured(law, spread, seeds, known):
  counted = coverage(law, spread, seeds)
  for now, then, size in zip(counted, known, SIZES, strict=True):
    assert abs(now - then) < 4 * error(then, size)


@CASES
def test_the_t_interval_keeps_its_coverage(law, spread, seeds, known):
  del known
  t, *_ = coverage(law, spread, seeds)
  # Not for a skewed difference: there it covers 2 to 3 % less often.
  nominal = 92.0 if law is one_skewed else 95.0
  assert t > nominal - 3 * error(nominal, SIZES[0])


@CASES
def test_a_bootstrap_of_seeds_is_too_narrow(law, spread, seeds, known):
  del known
  t, alone, nested = coverage(law, spread, seeds)
  assert alone < (89 if seeds == 5 else 92)
  # Examples make it wider. Where they add less than the seeds do, that does
  # not mend it.
  assert alone < nested
  assert alone < t
  if seeds == 5 and spread == 0.06 and law is normal:
    assert nested < 95 - 2 * error(95, SIZES[2])


def main(experiments=10_000, bootstrapped=2_000):
  for law, spread, seeds, _ in TABLE:
    t, alone, nested = coverage(law, spread, seeds, experiments, bootstrapped)
    sys.stdout.write(
      f"{law.__name__:12} {spread} {seeds} {t:.1f} {alone:.1f} {nested:.1f}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
  main(*map(int, sys.argv[1:]))
