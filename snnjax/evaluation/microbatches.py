"""Runs attacks over examples in one fixed microbatch, chunk by chunk."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax import prng, sharding
from snnjax.arguments import check_array, describe, with_key
from snnjax.evaluation.collecting import collect
from snnjax.evaluation.complete import Survivors, earlier_stages, victims
from snnjax.evaluation.records import (
  CLEAN,
  Chunk,
  Clean,
  Evaluation,
  Outcome,
  Trial,
  positions,
)
from snnjax.evaluation.steps import (
  Builder,
  attempt,
  example_keys,
  judge_logits,
  logits_of,
  partial,
  words,
)
from snnjax.interfaces import (
  AnyLogitsFn,
  Array,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  PyTree,
)
from snnjax.validation import check_count

Progress = Callable[[int, int, str], None]

_LARGEST = 2**31 - 1  # what a key folds in, and a label holds, without wrap


class _Request(NamedTuple):
  """The validated request; arrays live on the host."""

  inputs: Inputs
  labels: np.ndarray
  indices: np.ndarray
  key: Key
  microbatch: int
  mesh: Mesh | None
  progress: Progress | None


def evaluate(
  cases: Mapping[str, Builder],
  classify: AnyLogitsFn,
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  indices: np.ndarray | None = None,
  mask: np.ndarray | None = None,
  microbatch: int = 64,
  survivors: Survivors = True,
  finished: Iterable[Chunk] = (),
  mesh: Mesh | None = None,
  progress: Progress | None = None,
) -> Evaluation:
  """Runs `stream` to its end; returns one row per example and attack.

  The arguments are those of `stream`. ValueError as there, and if finished
  chunks are of an unknown stage or example.
  """
  names = tuple(cases)
  request = _check_request(
    inputs, labels, key, indices, mask, microbatch, mesh, progress
  )
  before = tuple(finished)
  new = _stream(request, cases, classify, survivors, before)
  chunks = itertools.chain(before, new)
  return collect(request.indices, request.labels, names, chunks, survivors)


def stream(
  cases: Mapping[str, Builder],
  classify: AnyLogitsFn,
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  indices: np.ndarray | None = None,
  mask: np.ndarray | None = None,
  microbatch: int = 64,
  survivors: Survivors = True,
  finished: Iterable[Chunk] = (),
  mesh: Mesh | None = None,
  progress: Progress | None = None,
) -> Iterator[Chunk]:
  """Yields the results of every attack as they come, one chunk at a time.

  Every computation has the shape of one microbatch: the last chunk is filled
  with repeated examples whose results are dropped. The keys of an example
  follow from (key, attack name, example id). Both together make
  the result of an example the same, to the last bit, whichever examples are
  evaluated with it and in whichever order; except for a network or rule that
  mixes the examples of a batch.

  Args:
    cases: by name, in the order of attack, a function without arguments that
      builds the `Trial`. Builders of the form `jax.tree_util.Partial(build,
      variables, epsilon)` share one compilation for all values of their
      arguments; a plain function is compiled on its own, its constants baked
      in.
    classify: ``(keys [B], inputs) -> logits [B, C]``, or of inputs alone, the
      judge of every attack; a `Partial` shares one compilation as above.
    inputs: [N, ...] or a mapping of such arrays.
    labels: [N] integer classes.
    key: a scalar typed key.
    indices: [N] unique ids, 0 to 2^31 - 1; by default 0 to N-1.
    mask: [N], False on rows to leave out altogether (padding).
    microbatch: how many examples are computed at once.
    survivors: which examples an attack meets. True: those that are classified
      correctly and that no attack before it broke, repacked into full
      microbatches. False: all of them, which tables of single attacks need. A
      mapping, attack -> earlier attacks, chooses for each attack: one that is
      a key meets the correct examples that none of its listed attacks broke,
      one that is no key meets all. ``{"square": ["apgd"]}`` lets square meet
      the survivors of apgd, and apgd meet every example.
    finished: chunks of an earlier, interrupted run with the same arguments;
      their examples are not computed or yielded again.
    mesh: of `sharding.over_devices`: every device computes a microbatch of
      its own, at once. The chunks are those of one device, to the last bit.
    progress: called as ``progress(done, total, stage)`` before the first
      microbatch of a stage and after each, of a mesh after one of every device.

  Returns:
    An iterator of chunks: the clean examples, then attack by attack.

  Raises:
    ValueError: if an argument does not fit; from the iterator, before the
      first chunk of an attack whose threat has a box that the inputs are not
      in, and where logits are not [B, C] with a class for every label.
  """
  request = _check_request(
    inputs, labels, key, indices, mask, microbatch, mesh, progress
  )
  return _stream(request, cases, classify, survivors, tuple(finished))


def _check_request(
  inputs: Inputs,
  labels: Labels,
  key: Key,
  indices: np.ndarray | None,
  mask: np.ndarray | None,
  microbatch: int,
  mesh: Mesh | None,
  progress: Progress | None,
) -> _Request:
  size = prng.batch_size(inputs)
  check_count("microbatch", microbatch)
  prng.check_key(key)
  if key.ndim:
    raise ValueError(f"key must be one scalar key; got shape {key.shape}")
  ids = np.arange(size) if indices is None else np.asarray(indices)
  keep = np.ones(size, bool) if mask is None else np.asarray(mask, bool)
  classes = np.asarray(labels)
  for name, value in (("labels", classes), ("indices", ids), ("mask", keep)):
    check_array(name, value, "[B]", B=size)
  for name, value in (("labels", classes), ("indices", ids)):
    is_integer = np.issubdtype(value.dtype, np.integer)
    if not is_integer or np.any((value < 0) | (value > _LARGEST)):
      raise ValueError(
        f"{name} must be integers from 0 to {_LARGEST}; got {value.dtype} "
        f"from {value.min(initial=0)} to {value.max(initial=0)}"
      )
  ids = ids[keep]
  if len(np.unique(ids)) != len(ids):
    raise ValueError(f"indices must be unique; got {len(ids)} with repeats")
  host = jax.tree.map(lambda leaf: np.asarray(leaf)[keep], inputs)
  return _Request(host, classes[keep], ids, key, microbatch, mesh, progress)


def _stream(
  request: _Request,
  cases: Mapping[str, Builder],
  classify: AnyLogitsFn,
  survivors: Survivors,
  finished: tuple[Chunk, ...],
) -> Iterator[Chunk]:
  judge = sharding.put(
    partial(with_key(classify, "classify")), _everywhere(request)
  )
  for name, builder in cases.items():
    if isinstance(builder, Trial) or not callable(builder):
      raise ValueError(
        f"cases[{name!r}] must be a function without arguments that builds "
        f"the Trial; got {describe(builder)}: put it behind lambda:"
      )
  if CLEAN in cases:
    raise ValueError(f"no attack may be called {CLEAN!r}; got {list(cases)}")
  unmet = earlier_stages(tuple(cases), survivors)
  done = {
    stage: np.zeros(len(request.indices), bool) for stage in (CLEAN, *cases)
  }
  fallen = {stage: np.zeros_like(rows) for stage, rows in done.items()}

  def note(chunk: Chunk) -> None:
    if chunk.stage not in done:
      raise ValueError(
        f"finished chunks must come from {list(done)}; got {chunk.stage!r}"
      )
    # Which examples a later attack meets follows from the chunks alone, so that
    # a resumed run goes on exactly where the first one would have.
    rows = positions(request.indices, chunk.indices)
    done[chunk.stage][rows] = True
    fallen[chunk.stage][rows] = victims(chunk)

  for chunk in finished:
    note(chunk)
  for chunk in _clean_chunks(request, judge, ~done[CLEAN]):
    note(chunk)
    yield chunk
  for name, builder in cases.items():
    # Decided only now, when all earlier stages are complete.
    todo = ~done[name]
    for stage in unmet[name]:
      todo &= ~fallen[stage]
    for chunk in _attack_chunks(request, name, builder, judge, todo):
      note(chunk)
      yield chunk


def _clean_chunks(
  request: _Request, judge: LogitsFn, todo: np.ndarray
) -> Iterator[Chunk]:
  for parts, inputs, labels, ids in _microbatches(request, CLEAN, todo):
    logits, again = (
      logits_of(
        judge,
        example_keys(request.key, CLEAN, draw, ids),
        inputs,
        mesh=request.mesh,
      )
      for draw in range(2)
    )
    if logits.ndim != 2 or logits.shape[1] < 2:
      raise ValueError(
        "classify must return logits [B, C] of at least two classes; got shape "
        f"{logits.shape}. A single logit z is [0, z] in two: "
        "jnp.pad(z, ((0, 0), (1, 0)))"
      )
    if request.labels.max() >= logits.shape[1]:
      raise ValueError(
        f"labels must be below the number of classes of logits [B, C]; got "
        f"label {request.labels.max()} and logits {logits.shape}"
      )
    prediction, loss, finite = judge_logits(logits, labels, mesh=request.mesh)
    clean = Clean(
      prediction=prediction,
      loss=loss,
      correct=prediction == labels,
      finite=finite,
      # NaN differs from itself: it says nothing about repeatability.
      repeatable=jnp.all(logits == again, axis=1) | ~finite,
    )
    for rows, own in zip(parts, _to_host(clean, parts, request), strict=True):
      yield Chunk(CLEAN, request.indices[rows], own)


def _attack_chunks(
  request: _Request,
  name: str,
  builder: Builder,
  judge: LogitsFn,
  todo: np.ndarray,
) -> Iterator[Chunk]:
  mesh = request.mesh
  attack = sharding.put(partial(builder), _everywhere(request))
  for parts, inputs, labels, ids in _microbatches(request, name, todo):
    # Three draws: for the attack, for the gradients at its ends, for the judge.
    keys = [example_keys(request.key, name, draw, ids) for draw in range(3)]
    output = attempt(attack, (keys[0], keys[1]), inputs, labels, mesh=mesh)
    _check_boxed(name, np.asarray(output.boxed), words(output.budget))
    # The executable that judged the clean inputs judges these: an attack that
    # returns its input cannot change the prediction of a repeatable network.
    logits = logits_of(judge, keys[2], output.inputs, mesh=mesh)
    prediction, loss, finite = judge_logits(logits, labels, mesh=request.mesh)
    outcome = Outcome(
      prediction=prediction,
      loss=loss,
      # What left ball or box is no success; `summarize` refuses it, so that it
      # is no defence either.
      success=(prediction != labels) & output.contained,
      claimed=output.claimed,
      distance=output.distance,
      contained=output.contained,
      finite=output.finite & finite,
      zero_gradient=output.zero_gradient,
      attempted=np.ones(len(labels), bool),
      iterations=output.iterations,
    )
    whole = outcome, output.inputs, logits
    for rows, (own, moved, scores) in zip(
      parts, _to_host(whole, parts, request), strict=True
    ):
      said = words(output.budget)
      yield Chunk(name, request.indices[rows], own, moved, scores, said)


def _check_boxed(name: str, boxed: np.ndarray, budget: str) -> None:
  """Raises unless every clean input of a microbatch lies in its box."""
  if not boxed.all():
    raise ValueError(
      f"inputs must lie in the box of the attack {name!r}"
      f"{f' ({budget})' if budget else ''}; {np.mean(~boxed):.0%} of a "
      "microbatch are outside. If they are standardised or 0..255, put the "
      "normalisation inside the model, or give the threat the box that they "
      "live in"
    )


def _everywhere(request: _Request) -> jax.sharding.NamedSharding | None:
  """Where that goes which all devices read: once, not at every call."""
  return None if request.mesh is None else sharding.whole(request.mesh)


def _microbatches(
  request: _Request, stage: str, todo: np.ndarray
) -> Iterator[tuple[list[np.ndarray], Inputs, Array, Array]]:
  """Yields the rows of one microbatch per device, and their arrays."""
  pending = np.flatnonzero(todo)
  if request.progress is not None and pending.size:
    request.progress(0, len(pending), stage)  # what follows may compile first
  mesh, size = request.mesh, request.microbatch
  cut = [pending[at : at + size] for at in range(0, len(pending), size)]
  at_once = 1 if mesh is None else mesh.size
  done = 0
  for start in range(0, len(cut), at_once):
    parts = cut[start : start + at_once]
    # Repeats rows to fill up; devices without a part repeat the last one.
    filled = [*parts, *[parts[-1]] * (at_once - len(parts))]
    padded = np.concatenate([np.resize(part, size) for part in filled])
    batch = (
      jax.tree.map(lambda leaf, at=padded: leaf[at], request.inputs),
      request.labels[padded].astype(np.int32),
      request.indices[padded].astype(np.uint32),
    )
    inputs, labels, ids = jax.device_put(
      batch, None if mesh is None else sharding.rows(mesh)
    )
    yield parts, inputs, labels, ids
    done += sum(map(len, parts))
    if request.progress is not None:
      request.progress(done, len(pending), stage)


def _to_host(
  tree: PyTree, parts: list[np.ndarray], request: _Request
) -> list[PyTree]:
  """Returns the rows of each part on the host, less what filled it up."""
  host = jax.tree.map(np.asarray, tree)
  starts = range(0, len(parts) * request.microbatch, request.microbatch)
  slices = [
    slice(at, at + len(part)) for at, part in zip(starts, parts, strict=True)
  ]
  return [jax.tree.map(lambda leaf, own=own: leaf[own], host) for own in slices]
