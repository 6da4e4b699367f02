"""Batches of a data set in memory, shuffled by (seed, epoch).

The order is the same on every machine, see `selection`. All batches have one
size: the last one is padded, and its mask marks the padding.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from snnjax.data import dataset, selection
from snnjax.data.selection import Purpose
from snnjax.interfaces import Batch, Inputs


class Slot(NamedTuple):
  """Which examples one batch holds.

  Attributes:
    indices: [B] positions in the data set; padding repeats the last one.
    mask: [B] booleans, False on padding.
  """

  indices: np.ndarray
  mask: np.ndarray


class Process(NamedTuple):
  """Which part of every batch a process of several loads.

  A batch is cut into `size` equal parts, and process `rank` loads part
  `rank`: joined in this order, the parts are the batch of a single process.

  Attributes:
    rank: of this process, `jax.process_index()`.
    size: how many there are, `jax.process_count()`.
  """

  rank: int = 0
  size: int = 1


ALONE = Process()


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
  """Returns the order of one epoch: a permutation of range(size), [size].

  Args:
    size: number of examples.
    seed: see `prng.check_seed`.
    epoch: in [0, 2^64).

  Raises:
    ValueError: if seed or epoch is out of range.
  """
  return selection.permutation(size, seed, Purpose.EPOCH, epoch)


def batch_count(size: int, batch_size: int) -> int:
  """Returns the number of batches of one epoch, the padded one included.

  Raises:
    ValueError: if `batch_size` < 1.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size must be at least 1; got {batch_size}")
  return -(-size // batch_size)


def slots(
  order: np.ndarray,
  batch_size: int,
  process: Process = ALONE,
) -> Iterator[Slot]:
  """Cuts an order into batches of one size; the last one is padded.

  Args:
    order: [n] positions in the data set.
    batch_size: examples over all processes; a multiple of their count.
    process: whose part of every batch.

  Yields:
    Slots of batch_size / process.size examples.

  Raises:
    ValueError: if an argument is out of range, or `order` is empty.
  """
  if process.size < 1 or not 0 <= process.rank < process.size:
    raise ValueError(
      "process must have a rank in [0, size) and a size of at least 1; got "
      f"{process}"
    )
  if batch_size < 1 or batch_size % process.size:
    raise ValueError(
      f"batch_size must be a positive multiple of the {process.size} "
      f"processes; got {batch_size}"
    )
  if not len(order):
    raise ValueError("order must hold at least one example; it is empty")
  local = batch_size // process.size
  return (
    Slot(order[np.minimum(rows, len(order) - 1)], rows < len(order))
    for begin in range(0, len(order), batch_size)
    for rows in (begin + process.rank * local + np.arange(local),)
  )


def to_batch(
  inputs: dataset.HostInputs,
  labels: np.ndarray,
  mask: np.ndarray,
  prepare: Callable[[Inputs], Inputs] | None = None,
) -> Batch:
  """Returns host arrays as a batch on the default device.

  Args:
    inputs: array [B, ...] or a mapping of them.
    labels: [B] integer classes.
    mask: [B] booleans, False on padding.
    prepare: see `gather`.
  """
  moved = jax.tree.map(jax.numpy.asarray, inputs)
  return Batch(
    inputs=moved if prepare is None else prepare(moved),
    labels=jax.numpy.asarray(labels),
    mask=jax.numpy.asarray(mask),
  )


def gather(
  data: dataset.Dataset,
  slot: Slot,
  prepare: Callable[[Inputs], Inputs] | None = None,
) -> Batch:
  """Returns the batch of one slot, on the default device.

  Args:
    data: N examples.
    slot: which of them.
    prepare: the named step from stored to network inputs, if there is one
      (`to_unit`, `pairing.network_inputs`, ...); applied on the device.
  """
  inputs = jax.tree.map(lambda leaf: leaf[slot.indices], data.inputs)
  return to_batch(inputs, data.labels[slot.indices], slot.mask, prepare)


def epoch_slots(
  size: int,
  batch_size: int,
  *,
  seed: int | None,
  epoch: int = 0,
  first: int = 0,
  process: Process = ALONE,
) -> Iterator[Slot]:
  """Cuts one epoch into batches: `batches` without the examples.

  Args:
    size: number of examples.
    batch_size: examples over all processes; a multiple of their count.
    seed: with `epoch`, sets the order; None keeps the data set's own order.
    epoch: which epoch.
    first: the batch to begin with, to go on in the middle of an epoch.
    process: whose part of every batch.

  Returns:
    The slots of the batches from `first` on.

  Raises:
    ValueError: at once, if an argument is out of range.
  """
  order = np.arange(size) if seed is None else epoch_order(size, seed, epoch)
  cut = slots(order, batch_size, process)
  count = batch_count(size, batch_size)
  if not 0 <= first <= count:
    raise ValueError(f"first must be between 0 and {count}; got {first}")
  return (slot for i, slot in enumerate(cut) if i >= first)


def batches(
  data: dataset.Dataset,
  batch_size: int,
  *,
  seed: int | None,
  epoch: int = 0,
  first: int = 0,
  process: Process = ALONE,
  prepare: Callable[[Inputs], Inputs] | None = None,
) -> Iterator[Batch]:
  """Iterates over one epoch in batches of one size.

  Args:
    data: N examples.
    batch_size: see `epoch_slots`, as the next four.
    seed: with `epoch`, sets the order; None keeps the data set's own order.
    epoch: which epoch.
    first: the batch to begin with, to go on in the middle of an epoch.
    process: whose part of every batch.
    prepare: see `gather`.

  Returns:
    An iterator over `Batch`es; the last one is padded, its mask False there.

  Raises:
    ValueError: at once, if an argument is out of range.
  """
  cut = epoch_slots(
    len(data.labels),
    batch_size,
    seed=seed,
    epoch=epoch,
    first=first,
    process=process,
  )
  return (gather(data, slot, prepare) for slot in cut)


def train_validation(
  labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Splits off a random validation part, of every class its share.

  Args:
    labels: [N] integer classes.
    fraction: the validation part's share, in (0, 1).
    seed: which examples; independent of the epochs' orders.

  Returns:
    The positions of the training part and of the validation part,
    round(fraction N) examples; both ascending.

  Raises:
    ValueError: if one part would be empty.
  """
  size = len(labels)
  count = round(fraction * size)
  if not 0 < fraction < 1 or not 0 < count < size:
    raise ValueError(
      f"fraction must be in (0, 1) and leave examples on both sides of {size}; "
      f"got {fraction}"
    )
  order = selection.stratified(labels, seed, Purpose.VALIDATION)
  return np.sort(order[count:]), np.sort(order[:count])
