"""Layers over a sequence [S, B, ...], where S is T, or 1 if steps are equal.

Modules own weights and normalisation statistics, nothing else: membranes are
arguments and results, spikes come from the context's backward rule, random
draws from its key. Every layer is called as ``layer(sequence, context)`` and
returns ``(sequence, traces)``, traces by layer name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnjax.arguments import check_array
from snnjax.interfaces import Array, BackwardRule, Key, State, Trace
from snnjax.kernels.convolution import convolve
from snnjax.kernels.pooling import average_pool
from snnjax.neurons import Neuron, Trainable, check_neuron
from snnjax.precision import Exactness, multiply
from snnjax.prng import example_keys, fold_in_name, per_example

Traces = dict[str, Trace]
Output = tuple[Array, Traces]
Initializer = Callable[..., Array]
Maker = Callable[[], Sequence[nn.Module]]

_MOST_CHANNELS = 4  # of an image as people have them: RGB and transparency


class Context(NamedTuple):
  """What a run of a network hands to all of its layers.

  Attributes:
    rule: turns currents into spikes.
    steps: the number of steps of this run.
    train: whether statistics come from the batch and are updated.
    key: scalar or [B] keys for dropout, or None.
    states: the state each spiking layer starts from, by layer name; a layer
      that is not named starts at rest.
    precision: of convolutions and dense products, one of `precision.NAMES`;
      None follows JAX's setting.
    kernel: of the neurons' scans, see `neurons.with_kernel`; None is each
      neuron's own.
  """

  rule: BackwardRule
  steps: int
  train: bool
  key: Key | None
  states: Mapping[str, State]
  precision: str | None = None
  kernel: str | None = None


def over_time(layer: Callable[[Array], Array], sequence: Array) -> Array:
  """Applies a layer to all steps of all examples at once.

  The merge is batch-major, [S, B, ...] -> [B * S, ...]: of batch-sharded data
  each device then computes its own examples. A time-major merge would gather
  the whole batch on every device.

  Args:
    layer: a function of arrays with one leading axis.
    sequence: [S, B, ...].

  Returns:
    [S, B, ...], the layer's results.
  """
  steps, batch = sequence.shape[:2]
  if steps == 1:
    return layer(sequence[0])[None]
  merged = jnp.swapaxes(sequence, 0, 1)
  merged = layer(merged.reshape(batch * steps, *sequence.shape[2:]))
  return jnp.swapaxes(merged.reshape(batch, steps, *merged.shape[1:]), 0, 1)


class Convolution(nn.Module):
  """Two-dimensional convolution of [S, B, H, W, C].

  Attributes:
    features: number of output channels.
    kernel_size: height and width of the kernel.
    strides: step along height and width.
    padding: pixels added on every side, or None to keep height and width.
    use_bias: whether a bias per channel is added.
    initializer: of the kernel [kh, kw, C, features].
  """

  features: int
  kernel_size: tuple[int, int] = (3, 3)
  strides: tuple[int, int] = (1, 1)
  padding: int | None = None
  use_bias: bool = True
  initializer: Initializer = nn.initializers.he_normal()

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns currents [S, B, H', W', features]."""
    name = f"inputs of layer {_path_of(self)}"
    check_array(name, sequence[0], "[B, H, W, C]")
    kernel = _kernel(self, self.kernel_size, sequence)
    padding = "SAME" if self.padding is None else ((self.padding,) * 2,) * 2

    def product(images: Array, filters: Array, exactness: Exactness) -> Array:
      return convolve(
        images,
        filters,
        strides=self.strides,
        padding=padding,
        precision=exactness,
      )

    def layer(images: Array) -> Array:
      return multiply(product, images, kernel, context.precision)

    return _add_bias(self, over_time(layer, sequence)), {}


class Dense(nn.Module):
  """Linear map of [S, B, F].

  Attributes:
    features: number of outputs.
    use_bias: whether a bias per output is added.
    initializer: of the kernel [F, features].
  """

  features: int
  use_bias: bool = True
  initializer: Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns currents [S, B, features]."""
    kernel = _kernel(self, (), sequence)
    currents = multiply(_matmul, sequence, kernel, context.precision)
    return _add_bias(self, currents), {}


def _matmul(inputs: Array, weights: Array, exactness: Exactness) -> Array:
  return jnp.matmul(inputs, weights, precision=exactness)


def _path_of(module: nn.Module) -> str:
  return "/".join(module.path)


def _kernel(
  module: Convolution | Dense, size: tuple[int, ...], sequence: Array
) -> Array:
  """The module's kernel [*size, C, features], of the sequence's type.

  It is drawn in single precision at least: a half has too few values.

  Raises:
    ValueError: if the sequence has other features than the kernel takes.
  """
  shape = (*size, sequence.shape[-1], module.features)
  # flax would complain about shapes without saying which input is wrong.
  if module.has_variable("params", "kernel"):
    weight: Array = module.variables["params"]["kernel"]
    weight_shape = tuple(weight.shape)
    if weight_shape != shape:
      raise ValueError(
        f"inputs do not fit the weights: layer {_path_of(module)} takes "
        f"{weight_shape[-2]} features along the last axis (channels, of images "
        f"[B, H, W, C]) and gets {shape[-2]}"
      )
  # A half-precision normal draw has few distinct values: drawn wide, then cast.
  wide = np.promote_types(sequence.dtype, jnp.float32)

  def draw(key: Key, shape: tuple[int, ...]) -> Array:
    return module.initializer(key, shape, wide).astype(sequence.dtype)

  return module.param("kernel", draw, shape)


def _add_bias(module: Convolution | Dense, currents: Array) -> Array:
  """Adds the module's bias over the last axis, if it has one."""
  if not module.use_bias:
    return currents
  bias = module.param(
    "bias", nn.initializers.zeros, (module.features,), currents.dtype
  )
  return currents + bias.reshape((1,) * (currents.ndim - 1) + (-1,))


class BatchNorm(nn.Module):
  """Batch normalisation whose statistics run over time, batch and space.

  y = scale * gamma (x - mean) / sqrt(var + epsilon) + beta. With scale = alpha
  theta it is threshold-dependent batch normalisation (tdBN).

  Attributes:
    scale: factor of the normalised current; alpha times the threshold for
      tdBN, 1 for plain batch normalisation.
    momentum: share of the running statistics kept per step of training.
    epsilon: added to the variance.

  References:
    Ioffe, Szegedy 2015, arXiv 1502.03167; Zheng et al. 2021 (tdBN),
    arXiv 2011.05280.
  """

  scale: float = 1.0
  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns normalised currents of the same shape."""
    layer = nn.BatchNorm(
      use_running_average=not context.train,
      momentum=self.momentum,
      epsilon=self.epsilon,
      scale_init=nn.initializers.constant(self.scale),
      dtype=sequence.dtype,
      param_dtype=sequence.dtype,
      name="norm",
    )
    return over_time(layer, sequence), {}


Norm = Callable[..., nn.Module]  # name=... -> a normalisation layer


class Standardize(nn.Module):
  """Per-channel (x - mean) / std of raw inputs; radii stay in raw units.

  Attributes:
    mean: one value per channel.
    std: one value per channel.
  """

  mean: Sequence[float]
  std: Sequence[float]

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns standardised inputs of the same shape."""
    del context
    # Constants, not parameters: nothing trains them, and radii need them fixed.
    shape = (1,) * (sequence.ndim - 1) + (-1,)
    mean = np.asarray(self.mean, sequence.dtype).reshape(shape)
    std = np.asarray(self.std, sequence.dtype).reshape(shape)
    return (sequence - mean) / std, {}


class Spiking(nn.Module):
  """A layer of neurons, one per feature of the current.

  Attributes:
    neuron: a neuron, or one whose constants this layer trains.
  """

  neuron: Neuron | Trainable

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns spikes [T, B, ...] and this layer's trace."""
    check_neuron(self.neuron)
    neuron = self.neuron
    if isinstance(neuron, Trainable):
      constants = {}
      for name, value in neuron.initial.items():
        initial = value(sequence.shape[2:]) if callable(value) else value
        constants[name] = self.param(
          name,
          nn.initializers.constant(initial),
          np.shape(initial),
          sequence.dtype,
        )
      neuron = neuron.build(constants)
    if context.kernel is not None:
      neuron = neuron._replace(kernel=context.kernel)
    name = "/".join(self.path)
    # A constant current arrives as one step; a view, not T copies.
    currents = jnp.broadcast_to(sequence, (context.steps, *sequence.shape[1:]))
    trace = context.rule(neuron, currents, context.states.get(name), name)
    return trace.spikes, {name: trace}


class Images(nn.Module):
  """Raises ValueError for inputs that are not images with channels last.

  It computes nothing. Arrays [B, C, H, W] would otherwise be taken for images
  of C rows.
  """

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns the sequence as it is."""
    del context
    advice = "They are images, or at every step a frame of images"
    sizes = check_array("inputs", sequence[0], "[B, H, W, C]", advice)
    rows, columns, channels = (sizes[axis] for axis in "HWC")
    if rows <= _MOST_CHANNELS < columns == channels:
      raise ValueError(
        f"inputs must be images with their channels last, [B, H, W, C]; {rows} "
        f"rows of {columns} with {channels} channels look like [B, C, H, W]: "
        "move the channels with jnp.moveaxis(images, -3, -1)"
      )
    return sequence, {}


class AveragePool(nn.Module):
  """Mean over disjoint squares of height and width.

  Attributes:
    pool: height and width of the squares, and their stride.
  """

  pool: int = 2

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns [S, B, H // pool, W // pool, C]."""
    del context
    height, width = sequence.shape[2:4]
    if min(height, width) < self.pool:
      raise ValueError(
        f"layer {self.name!r} averages squares of {self.pool}x{self.pool}, "
        f"but its images are {height}x{width}: every pool before it halved "
        "them. Give the network fewer blocks (channels), or larger images"
      )

    def layer(images: Array) -> Array:
      return average_pool(images, (self.pool, self.pool))

    return over_time(layer, sequence), {}


class Flatten(nn.Module):
  """Joins all feature axes of [S, B, ...], the last one fastest."""

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns [S, B, F]."""
    del context
    return sequence.reshape(*sequence.shape[:2], -1), {}


class Dropout(nn.Module):
  """Drops features while training, the same ones at every step.

  Attributes:
    rate: probability that a feature is dropped.

  References:
    Rathi, Roy 2020 (DIET-SNN), arXiv 2008.03658, hold the mask over time.
  """

  rate: float

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns the sequence with dropped features, rescaled."""
    if not context.train or self.rate == 0:
      return sequence, {}
    if context.key is None:
      raise ValueError("key is needed by dropout in train mode; got None")
    # By the layer's path: two dropouts of one network draw differently, and
    # adding a layer does not change the draws of the others.
    keys = fold_in_name(
      example_keys(context.key, sequence.shape[1]),
      "/".join(("dropout", *self.path)),
    )

    def draw(key: Key) -> Array:
      mask = jax.random.bernoulli(key, 1 - self.rate, sequence.shape[2:])
      return mask.astype(sequence.dtype) / (1 - self.rate)

    return sequence * per_example(draw, keys)[None], {}


class Stack(nn.Module):
  """Layers one after another.

  Attributes:
    make: returns the named modules, each called as ``layer(sequence,
      context)``; it runs inside the stack, so that they live in its scope.
  """

  make: Maker

  @nn.compact
  def __call__(self, sequence: Array, context: Context) -> Output:
    """Returns the last layer's sequence and all traces."""
    traces: Traces = {}
    for layer in self.make():
      sequence, more = layer(sequence, context)
      traces |= more
    return sequence, traces
