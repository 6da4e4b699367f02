"""The devices that a process computes on: batches split over them.

One device is the program without any mesh. Of several, each has a copy of the
weights and its rows of every batch, and XLA adds their gradients. They may
belong to several processes, on one machine or many, all of which run the same
program on their rows: what one decides for itself, `agree` makes common.
"""

import collections
import re
import signal
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from experiments.command.exits import UsageError
from experiments.configuration.schema import Config
from snnjax import sharding
from snnjax.data.pipeline import ALONE as ONE_PROCESS
from snnjax.data.pipeline import Process
from snnjax.interfaces import Batch
from snnjax.storage import array_files
from snnjax.training import TrainState


class Devices(NamedTuple):
  """What a process computes on.

  Attributes:
    mesh: of `sharding.over_devices`; None is one device.
    process: which one this is, of those whose devices are in the mesh.
  """

  mesh: Mesh | None = None
  process: Process = ONE_PROCESS

  @property
  def writes(self) -> bool:
    """Whether this process writes files: one does."""
    return self.process.rank == 0

  @property
  def size(self) -> int:
    """How many there are."""
    return 1 if self.mesh is None else self.mesh.size

  def check(self, config: Config) -> None:
    """Raises UsageError unless the devices can train together.

    Each gets as much of a batch. XLA would gather it all for a fused kernel.
    """
    for key, kernel in (
      ("kernel", config.kernel),
      ("evaluation.kernel", config.evaluation.kernel),
    ):
      if self.size > 1 and kernel == "fused":
        raise UsageError(
          f"{key} must be scan or auto where {self.size} devices train; got "
          f"'fused'. Give --config.{key}=scan, or --mesh=data:1"
        )
    rows = config.train.batch_size
    if rows % self.size:
      fits = [n for n in range(1, self.size) if rows % n == 0]
      larger = rows + self.size - rows % self.size
      fewer = f", or --mesh=data:{fits[-1]}" if self.process.size == 1 else ""
      raise UsageError(
        "train.batch_size must be a multiple of the number of devices, "
        f"{self.size}; got {rows}. Give --config.train.batch_size={larger}"
        f"{fewer}"
      )

  def split(self, batch: Batch) -> Batch:
    """Returns a batch with its rows on their devices.

    Args:
      batch: of several processes, this one's rows of it.
    """
    if self.mesh is None:
      return batch
    rows = sharding.rows(self.mesh)
    if self.process.size == 1:
      split: Batch = jax.device_put(batch, rows)
      return split
    joined: Batch = jax.tree.map(
      lambda leaf: jax.make_array_from_process_local_data(
        rows, np.asarray(leaf)
      ),
      batch,
    )
    return joined

  def place(self, state: TrainState, size: int) -> TrainState:
    """Returns the state of a training where its steps want it.

    Args:
      state: of batches of `size` examples; what is carried between batches and
        has a row for each of these is split as they are.
      size: of a batch.
    """
    if self.mesh is None:
      return state
    placed: TrainState = jax.tree.map(_put, state, self._layout(state, size))
    return placed

  def keep(self, state: TrainState, size: int) -> TrainState:
    """Returns `place`'s state, said within a program of what it returns."""
    if self.mesh is None:
      return state
    kept: TrainState = jax.tree.map(
      _constrain, state, self._layout(state, size)
    )
    return kept

  def place_whole(self, tree: Any) -> Any:
    """Returns a tree of arrays that every device has a copy of.

    Args:
      tree: of several processes, the same in all of them.
    """
    if self.mesh is None:
      return tree
    whole = sharding.whole(self.mesh)
    return jax.tree.map(lambda leaf: _put(leaf, whole), tree)

  def keep_whole(self, tree: Any) -> Any:
    """Returns `place_whole`'s tree, said within a program of its results."""
    if self.mesh is None:
      return tree
    whole = sharding.whole(self.mesh)
    return jax.tree.map(lambda leaf: _constrain(leaf, whole), tree)

  def gather(self, tree: Any) -> Any:
    """Returns a tree of arrays that every process can read whole."""
    if self.process.size == 1:
      return tree
    assert self.mesh is not None
    whole = sharding.whole(self.mesh)
    return jax.jit(_itself, out_shardings=whole)(tree)

  def agree(self, wish: bool) -> bool:
    """Returns whether any process has a wish; all of them must ask."""
    if self.process.size == 1:
      return wish
    wishes = multihost_utils.process_allgather(np.asarray(wish))
    return bool(np.any(wishes))

  def broadcast(self, number: int) -> int:
    """Returns the first process's number; all of them must ask."""
    if self.process.size == 1:
      return number
    return int(multihost_utils.broadcast_one_to_all(np.asarray(number)))

  def check_same(self, number: int, problem: str) -> None:
    """Raises UsageError unless all processes have one number; all must ask.

    Args:
      number: that fits 32 bits.
      problem: what the message begins with where they differ.
    """
    if self.process.size == 1:
      return
    numbers = multihost_utils.process_allgather(np.asarray(number, np.int32))
    if len(np.unique(numbers)) > 1:
      values = ", ".join(map(str, np.ravel(numbers)))
      raise UsageError(f"{problem}; got, by process: {values}")

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
_PLACE = re.compile(r"(\d{1,6})/(\d{1,6})@([^@/\s]+:\d{1,5})")


def _itself(tree: Any) -> Any:
  return tree


def _put(leaf: jax.Array, place: jax.sharding.NamedSharding) -> jax.Array:
  """Puts an array that this process has whole where all processes want it."""
  if place.is_fully_addressable:
    return jax.device_put(leaf, place)
  if array_files.is_key(leaf):
    return _with_bits(leaf, _put(jax.random.key_data(leaf), place))
  host = np.asarray(leaf)
  return jax.make_array_from_callback(
    host.shape, place, lambda index: host[index]
  )


def _constrain(leaf: jax.Array, place: jax.sharding.NamedSharding) -> jax.Array:
  """Says within a program where an array lies."""
  if array_files.is_key(leaf):
    # Of its bits: to jax 0.7.2's check of keys the key itself would be used up.
    bits = jax.random.key_data(leaf)
    return _with_bits(leaf, lax.with_sharding_constraint(bits, place))
  constrained: jax.Array = lax.with_sharding_constraint(leaf, place)
  return constrained


def _with_bits(key: jax.Array, bits: jax.Array) -> jax.Array:
  """Returns a key of the same kind."""
  return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(key))


def join(text: str | None) -> Devices:
  """Returns all devices of all processes, of which this becomes one.

  Nothing may have been computed in this process yet.

  Args:
    text: ``I/N@HOST:PORT`` is process I of N, and process 0 listens there; None
      finds the others as a TPU pod, SLURM, Open MPI or Kubernetes tell of them.

  Raises:
    UsageError: it has another form, the others are not found, or one has more
      devices than another.
  """
  named = _PLACE.fullmatch(text or "")
  if text is not None and (named is None or int(named[1]) >= int(named[2])):
    raise UsageError(
      "--process must be I/N@HOST:PORT for process I of N, I from 0 to N-1, "
      f"and where process 0 listens; got {text[:100]!r}"
    )
  handler = signal.getsignal(signal.SIGTERM)
  try:
    if named is None:
      jax.distributed.initialize()
    else:
      jax.distributed.initialize(named[3], int(named[2]), int(named[1]))
  except (ValueError, RuntimeError) as error:
    raise UsageError(
      f"--distributed: {' '.join(str(error).split())[:300]}. Where nothing "
      "tells of the processes, start N with --process=I/N@HOST:PORT each"
    ) from None
  # JAX takes the signal for a service of its own; here the run answers it.
  signal.signal(signal.SIGTERM, handler)
  there = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  if len(there) == 1:
    return ALONE
  process = Process(jax.process_index(), jax.process_count())
  numbers = collections.Counter(device.process_index for device in there)
  if len(set(numbers.values())) > 1:
    raise UsageError(
      "--distributed: every process must have as many devices as the others; "
      f"got, by process: {', '.join(str(numbers[n]) for n in sorted(numbers))}"
    )
  return Devices(sharding.over_devices(there), process)


def choose(text: str | None) -> Devices:
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
