"""The devices that a process computes on: batches split over them.

One device is the program without any mesh. Of several, each has a copy of the
weights and its rows of every batch, and XLA adds their gradients.
"""

from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import Mesh

from experiments.command.exits import UsageError
from experiments.configuration.schema import Config
from snnjax import sharding
from snnjax.interfaces import Batch
from snnjax.training import TrainState


class Devices(NamedTuple):
  """What a process computes on.

  Attributes:
    mesh: of `sharding.over_devices`; None is one device.
  """

  mesh: Mesh | None = None

  @property
  def count(self) -> int:
    """How many there are."""
    return 1 if self.mesh is None else self.mesh.size

  def check(self, config: Config) -> None:
    """Raises UsageError unless every device gets as much of a batch."""
    size = config.train.batch_size
    if size % self.count:
      fits = [n for n in range(1, self.count) if size % n == 0]
      raise UsageError(
        f"train.batch_size must be a multiple of the {self.count} devices of "
        f"--mesh=data:{self.count}; got {size}. Give "
        f"--config.train.batch_size={size + self.count - size % self.count}, "
        f"or --mesh=data:{fits[-1]}"
      )

  def split(self, batch: Batch) -> Batch:
    """Returns a batch with its rows on their devices."""
    if self.mesh is None:
      return batch
    rows: Batch = jax.device_put(batch, sharding.rows(self.mesh))
    return rows

  def place(self, state: TrainState, size: int) -> TrainState:
    """Returns the state of a training where its steps want it.

    Args:
      state: of batches of `size` examples; what is carried between batches and
        has a row for each of these is split as they are.
      size: of a batch.
    """
    if self.mesh is None:
      return state
    placed: TrainState = jax.device_put(state, self._layout(state, size))
    return placed

  def keep(self, state: TrainState, size: int) -> TrainState:
    """Returns `place`'s state, said within a program of what it returns."""
    if self.mesh is None:
      return state
    kept: TrainState = lax.with_sharding_constraint(
      state, self._layout(state, size)
    )
    return kept

  def constrained(self, tree: Any) -> Any:
    """Returns a tree of which every device has a copy, within a program."""
    if self.mesh is None:
      return tree
    return lax.with_sharding_constraint(tree, sharding.whole(self.mesh))

  def _layout(self, state: TrainState, size: int) -> Any:
    assert self.mesh is not None
    rows, whole = sharding.rows(self.mesh), sharding.whole(self.mesh)
    layout: Any = jax.tree.map(lambda leaf: whole, state)
    return layout._replace(
      carried=jax.tree.map(
        lambda leaf: rows if leaf.shape[:1] == (size,) else whole,
        state.carried,
      )
    )


ALONE = Devices()


def chosen(text: str | None) -> Devices:
  """Returns the devices that ``--mesh`` names.

  Args:
    text: ``data:N``; None takes all local devices.

  Raises:
    UsageError: it has another form, or there are fewer devices.
  """
  there = jax.local_devices()
  if text is None:
    count = len(there)
  else:
    axis, _, number = text.partition(":")
    count = int(number) if number.isdecimal() and len(number) < 9 else 0
    if axis != sharding.DATA or not 1 <= count <= len(there):
      raise UsageError(
        f"--mesh must be data:N with N from 1 to {len(there)}, the devices "
        f"that are here ({there[0].device_kind}); got {text[:100]!r}. Without "
        "it all of them are used"
      )
  if count == 1:
    return ALONE
  return Devices(sharding.over_devices(there[:count]))
