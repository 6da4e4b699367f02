"""Networks as two pure functions, built from encoders, layers and a readout."""

import functools
import inspect
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnjax.arguments import check_is, check_network
from snnjax.backward.rules import StraightThrough, check_rule
from snnjax.encoders import Encoder
from snnjax.interfaces import (
  Array,
  BackwardRule,
  Forward,
  Inputs,
  Key,
  LogitsFn,
  Network,
  State,
  Variables,
)
from snnjax.kernels.scan import check_kernel, neuron_scan
from snnjax.models.layers import Context, Dense, Maker, Stack, Traces
from snnjax.precision import check_name
from snnjax.prng import batch_size, fold_in
from snnjax.readouts import Readout
from snnjax.validation import check_count

OUTPUT = "output"
_TYPES = tuple(
  map(jnp.dtype, (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64))
)


class Branch(NamedTuple):
  """One input's way into a network.

  Attributes:
    encoder: data [B, ...] -> sequence.
    layers: returns new named modules, each called as ``layer(sequence,
      context)``.
  """

  encoder: Encoder
  layers: Maker


def build(
  branches: Branch | Mapping[str, Branch],
  *,
  classes: int,
  readout: Readout,
  trunk: Maker = tuple,
) -> Network:
  """Builds a network of one branch, or of one per modality, and a trunk.

  The branches' features are flattened, concatenated in the order of their
  names and handed to the trunk; a dense layer and the readout end the network.

  Args:
    branches: one branch for array inputs, or one per modality for inputs that
      are a mapping with the same names. All have the same number of steps.
    classes: the number C of logits, at least 2.
    readout: outputs [T, B, C] -> logits [B, C].
    trunk: returns the layers after the concatenation; none by default.

  Returns:
    A `Network`. Its weights are of the type of the inputs that `init` is given,
    and `apply` wants inputs of that type. Layer names are "body/NAME", or
    "MODALITY/NAME", and "trunk/NAME".

  Raises:
    ValueError: if there is no branch, step counts differ, classes < 2, or an
      argument is something else.
  """
  check_count("classes", classes, least=2)
  named = branches if isinstance(branches, Mapping) else {"body": branches}
  check_is("readout", readout, Readout, "readouts.mean()")
  for branch in named.values():
    check_is("branches", branch, Branch, "models.Branch(encoder, layers)")
    check_is("encoder", branch.encoder, Encoder, "encoders.direct(8)")
  counts = {name: branch.encoder.steps for name, branch in named.items()}
  if len(set(counts.values())) != 1:
    raise ValueError(
      f"branches must have encoders with one number of steps; got {counts}"
    )
  steps = next(iter(counts.values()))
  module = _Module(
    stacks={name: branch.layers for name, branch in sorted(named.items())},
    trunk=trunk,
    classes=classes,
    readout=readout,
  )
  encoders = {name: branch.encoder for name, branch in named.items()}
  single = not isinstance(branches, Mapping)

  def sequences(
    inputs: Inputs, key: Key | None, window: tuple[int, int]
  ) -> dict[str, Array]:
    # Every branch has a key of its own, by its position: the draws of one do
    # not depend on what other branches draw.
    arrays = _by_branch(inputs, encoders, single)
    _check_types(arrays, single)
    return {
      name: _encode(encoder, arrays[name], _branch_key(key, index), window)
      for index, (name, encoder) in enumerate(sorted(encoders.items()))
    }

  # Compiled, so that only the weights are computed, not the forward pass; here,
  # so that a network compiles it once.
  @jax.jit
  def draw(encode_key: Key, weight_key: Key, inputs: Inputs) -> Variables:
    encoded = sequences(inputs, encode_key, (0, steps))
    # Weights do not depend on spikes: any rule initialises them.
    context = Context(StraightThrough(), steps, False, None, {})
    variables = dict(module.init({"params": weight_key}, encoded, context))
    # flax begins statistics in single precision, and goes on in the type of
    # what they are taken of.
    kinds = [leaf.dtype for leaf in jax.tree.leaves(encoded)]
    kind = functools.reduce(np.promote_types, kinds, np.dtype(np.float32))
    variables["batch_stats"] = jax.tree.map(
      lambda leaf: leaf.astype(kind), variables.get("batch_stats", {})
    )
    return variables

  def init(key: Key, inputs: Inputs) -> Variables:
    encode_key, weight_key = jax.random.split(key)
    return draw(encode_key, weight_key, inputs)

  def apply(
    variables: Variables,
    inputs: Inputs,
    *,
    rule: BackwardRule,
    key: Key | None = None,
    train: bool = False,
    states: Mapping[str, State] | None = None,
    window: tuple[int, int] | None = None,
    precision: str | None = None,
    kernel: str | None = None,
  ) -> Forward:
    check_rule(rule)
    check_name(precision)
    if kernel is not None:
      check_kernel(kernel)
    start, stop = window or (0, steps)
    if not 0 <= start < stop <= steps:
      raise ValueError(
        f"window must be a half-open pair of steps within 0..{steps}; "
        f"got {window}"
      )
    encoded = sequences(inputs, key, (start, stop))
    _check_weights(encoded, variables)
    context = Context(
      rule, stop - start, train, key, states or {}, precision, kernel
    )
    results, updated = module.apply(
      variables, encoded, context, mutable=["batch_stats"] if train else []
    )
    logits, outputs, traces, last = results
    return Forward(
      logits,
      outputs,
      traces,
      updated.get("batch_stats", variables.get("batch_stats", {})),
      {name: trace.state for name, trace in traces.items()} | last,
    )

  return Network(init, apply)


def at_precision(network: Network, name: str | None) -> Network:
  """Returns the network with its products computed as exactly as `name` says.

  Weights, potentials, thresholds, normalisation and logits stay of the type of
  weights and inputs: a network in bfloat16 has the same variables.

  Args:
    network: one of this package, or any whose `apply` takes ``precision``.
    name: of convolutions and dense products, and of their derivatives:
      "float32", "tf32" or "bfloat16", see `snnjax.precision`. None is float32
      on every platform, unless JAX's jax_default_matmul_precision is set.

  Raises:
    ValueError: if the network is none, its `apply` takes no precision, or there
      is no such name.
  """
  check_network(network)
  check_name(name)
  return _computed(network, "precision", name)


def with_kernel(network: Network, kernel: str | None) -> Network:
  """Returns the network with the scans of its neurons computed by a kernel.

  The integration of `readouts.membrane`, over as many neurons as classes,
  remains a scan.

  Args:
    network: one of this package, or any whose `apply` takes ``kernel``.
    kernel: "auto", "fused" or "scan", see `neurons.with_kernel`; None is each
      neuron's own.

  Raises:
    ValueError: if the network is none, its `apply` takes no kernel, or there is
      no such kernel. A kernel that cannot run here is refused by `apply`.
  """
  check_network(network)
  if kernel is not None:
    check_kernel(kernel)
  return _computed(network, "kernel", kernel)


def _computed(network: Network, option: str, value: str | None) -> Network:
  """The network with an option of its `apply` set; a ValueError without it."""
  try:
    inspect.signature(network.apply).bind_partial(**{option: value})
  except TypeError:
    raise ValueError(
      f"network must have an apply that takes {option}=...; this one's does "
      "not, and would be computed as before: those of snnjax.models do"
    ) from None
  return network._replace(
    apply=functools.partial(network.apply, **{option: value})
  )


def classifier(
  network: Network, variables: Variables, *, rule: BackwardRule
) -> LogitsFn:
  """Returns ``(key, inputs) -> logits [B, C]`` with frozen statistics.

  Args:
    network: the network.
    variables: its weights and statistics.
    rule: the backward rule under which the logits are differentiated.

  Raises:
    ValueError: if the network is none, such as its `apply` alone, or the rule
      is none, such as a surrogate alone.
  """
  check_network(network)
  check_rule(rule)

  def logits(key: Key, inputs: Inputs) -> Array:
    return network.apply(variables, inputs, rule=rule, key=key).logits

  return logits


class _Module(nn.Module):
  """Branches, their concatenation, trunk, output layer and readout."""

  stacks: Mapping[str, Maker]
  trunk: Maker
  classes: int
  readout: Readout

  @nn.compact
  def __call__(
    self, encoded: Mapping[str, Array], context: Context
  ) -> tuple[Array, Array, Traces, dict[str, State]]:
    """Returns logits, outputs, traces and the output layer's state."""
    traces: Traces = {}
    features = []
    # A branch whose steps are all equal computes one, [1, B, F].
    for name, make in self.stacks.items():
      sequence, more = Stack(make, name=name)(encoded[name], context)
      traces |= more
      features.append(sequence.reshape(*sequence.shape[:2], -1))
    steps = max(feature.shape[0] for feature in features)
    joined = jnp.concatenate(
      [jnp.broadcast_to(f, (steps, *f.shape[1:])) for f in features], axis=-1
    )
    sequence, more = Stack(self.trunk, name="trunk")(joined, context)
    head = Dense(self.classes, name="head")
    outputs, _ = head(sequence, context)
    outputs = jnp.broadcast_to(outputs, (context.steps, *outputs.shape[1:]))
    last: dict[str, State] = {}
    # A readout may integrate the outputs in a neuron that never fires.
    neuron = self.readout.neuron
    if neuron is not None:
      state = context.states.get(OUTPUT)
      state = neuron.init(outputs[0]) if state is None else state
      read = neuron.drive
      state, outputs = neuron_scan(
        neuron.integrate,
        lambda charged, _: (charged, read(charged)),
        state,
        outputs,
      )
      last[OUTPUT] = state
    if self.readout.linear and neuron is None:
      # The reduction commutes with the output layer: one product, not T.
      reduced = self.readout.reduce(sequence)
      logits = head(reduced[None], context)[0][0]
    else:
      logits = self.readout.reduce(outputs)
    return logits, outputs, traces | more, last


def _by_branch(
  inputs: Inputs, encoders: Mapping[str, Encoder], single: bool
) -> Mapping[str, Array]:
  """Inputs by branch name; a ValueError says which modalities are missing."""
  batch_size(inputs)
  if single:
    if isinstance(inputs, Mapping):
      raise ValueError(
        "inputs must be one array [B, ...] for a network of one branch; got "
        f"modalities {sorted(inputs)}"
      )
    return dict.fromkeys(encoders, inputs)
  if not isinstance(inputs, Mapping) or set(inputs) != set(encoders):
    came = sorted(inputs) if isinstance(inputs, Mapping) else "one array"
    raise ValueError(
      f"inputs must have the modalities {sorted(encoders)}; got {came}"
    )
  return inputs


def _check_types(arrays: Mapping[str, Array], single: bool) -> None:
  """Raises ValueError unless the inputs are of one floating type."""
  kinds = {name: jnp.result_type(leaf) for name, leaf in arrays.items()}
  for name, kind in kinds.items():
    if kind not in _TYPES:
      label = "inputs" if single else f"inputs[{name!r}]"
      raise ValueError(
        f"{label} must be of one of the types {', '.join(map(str, _TYPES))}; "
        f"got {kind}: divide images by 255, cast spikes and counts"
      )
  if len(set(kinds.values())) > 1:
    came = {name: str(kind) for name, kind in kinds.items()}
    raise ValueError(f"inputs must be of one type; got {came}")


def _check_weights(arrays: Mapping[str, Array], variables: Variables) -> None:
  """Raises ValueError if no weight is of the inputs' type."""
  weights = jax.tree.leaves(variables.get("params", {}))
  kinds = {jnp.result_type(leaf) for leaf in weights}
  for leaf in arrays.values():
    if kinds and leaf.dtype not in kinds:
      raise ValueError(
        f"inputs must be of the weights' type, {', '.join(map(str, kinds))}; "
        f"got {leaf.dtype}: cast the one or the other"
      )


def _branch_key(key: Key | None, index: int) -> Key | None:
  return None if key is None else fold_in(key, index)


def _encode(
  encoder: Encoder, data: Array, key: Key | None, window: tuple[int, int]
) -> Array:
  """The window's steps of the encoded data, or the one step they all are."""
  sequence = encoder.encode(key, jnp.asarray(data))
  return sequence if sequence.shape[0] == 1 else sequence[slice(*window)]
