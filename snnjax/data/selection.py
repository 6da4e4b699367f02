"""Which examples, in which order: functions of a seed, the same everywhere.

An order sorts the examples by the raw 64-bit words of a Philox generator.
Philox words are fixed by the algorithm, so the order is the same on every
machine and with every version of NumPy, which promises that of its bit
generators but not of `permutation`.

A stratified order mixes the classes evenly: its first m examples have every
class in proportion, for any m. A subset is always such a beginning, so a
smaller subset lies within a larger one.
"""

import enum

import numpy as np

from snnjax import prng


@enum.unique  # purposes of one number would share one order
class Purpose(enum.IntEnum):
  """What one seed is used for: the top word of Philox's counter."""

  EPOCH = 0
  VALIDATION = 1
  WRITING = 2
  SUBSET = 3
  HELD_OUT = 4


def permutation(
  size: int, seed: int, purpose: Purpose, epoch: int = 0
) -> np.ndarray:
  """Returns a permutation of range(size), [size].

  Args:
    size: number of examples.
    seed: see `prng.check_seed`.
    purpose: keeps the uses of one seed apart.
    epoch: in [0, 2^64).

  Raises:
    ValueError: if seed or epoch is out of range.
  """
  prng.check_seed(seed)
  if not 0 <= epoch < 1 << 64:
    raise ValueError(f"epoch must be in [0, 2^64); got {epoch}")
  generator = np.random.Philox(
    key=np.array([seed, epoch], np.uint64),
    counter=np.array([0, 0, 0, purpose], np.uint64),
  )
  return np.argsort(generator.random_raw(size), kind="stable")


def stratified(
  labels: np.ndarray, seed: int, purpose: Purpose = Purpose.SUBSET
) -> np.ndarray:
  """Returns an order of the examples that mixes the classes evenly, [N].

  The k-th example of a class with n, in random order, stands at
  (k + 1/2) / n: in the first m of N examples the class has m n / N, to
  within one where the classes are of one size.

  Args:
    labels: [N] integer classes, at least 0.
    seed: see `prng.check_seed`.
    purpose: keeps the uses of one seed apart.

  Returns:
    A permutation of range(N); its first m are the subset of m examples.

  Raises:
    ValueError: if the seed is out of range.
  """
  mixed = permutation(len(labels), seed, purpose)
  classes = np.asarray(labels)[mixed]
  counts = np.bincount(classes)
  grouped = np.argsort(classes, kind="stable")
  # The rank of an example within its class: its position in the order grouped
  # by class, less the position at which its class begins there.
  rank = np.empty(len(classes), np.int64)
  begins = np.cumsum(counts) - counts
  rank[grouped] = np.arange(len(classes)) - np.repeat(begins, counts)
  return mixed[np.argsort((rank + 0.5) / counts[classes], kind="stable")]


def subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Returns `count` of N examples, each class by its share, [count].

  Args:
    labels: [N] integer classes, at least 0.
    count: how many; 0 takes all.
    seed: see `prng.check_seed`.

  Returns:
    Positions; those of a smaller count are the first of them.

  Raises:
    ValueError: if `count` is not in [0, N], or the seed out of range.
  """
  if not 0 <= count <= len(labels):
    raise ValueError(f"count must lie in 0..{len(labels)}; got {count}")
  return stratified(labels, seed)[: count or len(labels)]
