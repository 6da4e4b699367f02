"""Batches from the disk, read ahead by grain, equal to those from memory.

For data sets that do not fit into memory. The batches are those that
`pipeline.batches` gives for the loaded data set, bit for bit: same order, same
masks, same share per process. For a data set that fits, memory is faster.

References:
  "Grain, feeding JAX models", https://github.com/google/grain.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import grain
import numpy as np

from snnjax.data import dataset, pipeline, prepared
from snnjax.interfaces import Batch, Inputs


class _Read(NamedTuple):
  """One batch on the host."""

  inputs: dataset.HostInputs
  labels: np.ndarray
  mask: np.ndarray


def batches(
  records: prepared.Records,
  batch_size: int,
  *,
  seed: int | None,
  epoch: int = 0,
  first: int = 0,
  process: pipeline.Process = pipeline.ALONE,
  prepare: Callable[[Inputs], Inputs] | None = None,
  threads: int = 2,
  ahead: int = 4,
) -> Iterator[Batch]:
  """Iterates over one epoch in batches of one size, without loading it.

  Args:
    records: from `prepared.records`.
    batch_size: see `pipeline.epoch_slots`, as the next four.
    seed: with `epoch`, sets the order; None keeps the data set's own order.
    epoch: which epoch.
    first: the batch to begin with, to go on in the middle of an epoch.
    process: whose part of every batch.
    prepare: see `pipeline.gather`.
    threads: how many read; at least 1.
    ahead: how many batches are read before they are asked for; at least 1.

  Returns:
    An iterator over `Batch`es; the last one is padded, its mask False there.

  Raises:
    ValueError: at once, if an argument is out of range; while iterating, if
      the records are damaged.
  """
  for name, value in (("threads", threads), ("ahead", ahead)):
    if value < 1:
      raise ValueError(f"{name} must be at least 1; got {value}")
  slots = list(
    pipeline.epoch_slots(
      records.size,
      batch_size,
      seed=seed,
      epoch=epoch,
      first=first,
      process=process,
    )
  )
  if not slots:  # the epoch was over; grain takes no empty source
    return iter(())

  def read(number: int) -> _Read:
    slot = slots[number]
    return _Read(*records.read(slot.indices.tolist()), slot.mask)

  stream = (
    grain.MapDataset.range(len(slots))
    .map(read)
    .to_iter_dataset(
      grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(threads, ahead)
      )
    )
  )
  return (
    pipeline.to_batch(batch.inputs, batch.labels, batch.mask, prepare)
    for batch in stream
  )
