"""The numbers that all libraries compute with, from NumPy alone.

Weights, inputs and currents are multiples of powers of two, small enough that
float32 sums of the two-convolution network and of the LIF layer are exact in
any order: spikes must then be equal, not nearly so. Biases and currents are
odd multiples of the finest one, so that no potential meets the threshold, where
libraries differ (u > 0 or u >= 0).
"""

import enum
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.tasks import Task

CLASSES = 10
LEAK = 0.5
THRESHOLD = 1.0
STEP = 1 / 128  # SR's h: a power of two near 0.01
WEIGHT = 0.001  # SR's lambda
RADIUS = 8 / 255
ATTACK_STEP = 2 / 255
L2_RADIUS = 1.0
L2_STEP = 0.25
L1_RADIUS = 10.0
L1_STEP = 2.0
SITES = 10  # entries that an l0 attack may change
SEARCHES = 9  # of the trade-off constant of Carlini-Wagner and EAD
RATE = 1e-3
MOMENTUM = 0.9
PERIODS = 2  # HIRE's N
_CURRENT_UNIT = 2.0**-9

Weights = dict[str, dict[str, np.ndarray]]


class Kind(enum.Enum):
  """What a layer does."""

  CONVOLUTION = enum.auto()
  NORM = enum.auto()
  SPIKE = enum.auto()
  POOL = enum.auto()
  FLATTEN = enum.auto()
  DENSE = enum.auto()


class Layer(NamedTuple):
  """One layer of a network.

  Attributes:
    kind: what it does.
    name: as in our library's trees.
    inputs: channels or features that come in.
    outputs: channels or features that go out.
    side: height and width that come out.
  """

  kind: Kind
  name: str
  inputs: int
  outputs: int
  side: int


def layers(task: Task) -> list[Layer]:
  """The task's network, from the image to the logits of one step."""
  network: list[Layer] = []
  side, width, number = task.side, task.colors, 0
  pooled = task.net != "vgg"  # the small network pools after every block

  def add(kind: Kind, name: str, outputs: int) -> None:
    network.append(Layer(kind, name, width, outputs, side))

  for channels in task.channels:
    if channels:
      number += 1
      add(Kind.CONVOLUTION, f"conv{number}", channels)
      width = channels
      if task.net == "vgg":
        add(Kind.NORM, f"norm{number}", channels)
      add(Kind.SPIKE, f"spike{number}", channels)
    if pooled or not channels:
      side //= 2
      add(Kind.POOL, f"pool{number}", width)
  spatial, side = side, 1
  network.append(
    Layer(Kind.FLATTEN, "flatten", width, width * spatial**2, spatial)
  )
  width *= spatial**2
  for index, features in enumerate(task.hidden, start=1):
    add(Kind.DENSE, f"dense{index}", features)
    width = features
    add(Kind.SPIKE, f"dense_spike{index}", features)
  add(Kind.DENSE, "head", CLASSES)
  return network


def weights(task: Task, seed: int = 0) -> Weights:
  """Kernels [kh, kw, in, out] or [in, out] and biases [out], by layer name.

  The rows of a dense kernel follow the features of a [H, W, C] image.
  """
  random = np.random.default_rng(seed)
  exact = task.net == "cnn"
  by_layer: Weights = {}
  for layer in layers(task):
    if layer.kind not in (Kind.CONVOLUTION, Kind.DENSE):
      continue
    convolution = layer.kind is Kind.CONVOLUTION
    taps = (3, 3) if convolution else ()
    fan = (9 if convolution else 1) * layer.inputs
    shape = (*taps, layer.inputs, layer.outputs)
    kernel: np.ndarray = random.standard_normal(shape, np.float32)
    kernel *= np.float32(np.sqrt(2 / fan))
    bias = np.zeros(layer.outputs, np.float32)
    if exact:
      unit = 1 / 32 if convolution else 1 / 256
      kernel = np.round(kernel / unit) * unit
      # One half of the unit of the currents: the odd one out.
      first = layer.name == "conv1"
      bias += 2.0**-13 if first else 2.0**-8
    by_layer[layer.name] = {
      "kernel": kernel.astype(np.float32),
      "bias": bias.astype(np.float32),
    }
  return by_layer


def batch(task: Task, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
  """Images [B, H, W, C] in [0, 1] and labels [B]."""
  random = np.random.default_rng(seed)
  shape = (task.batch, task.side, task.side, task.colors)
  images = random.integers(0, 17, shape) / 16
  labels = random.integers(0, CLASSES, task.batch)
  return images.astype(np.float32), labels.astype(np.int32)


def currents(task: Task, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
  """Currents of a LIF layer [T, N] and cotangents of its spikes."""
  random = np.random.default_rng(seed)
  shape = (task.steps, task.batch)
  odd = 2 * random.integers(-128, 512, shape, dtype=np.int32) + 1
  cotangents = random.standard_normal(shape, np.float32)
  return odd.astype(np.float32) * np.float32(_CURRENT_UNIT), cotangents


def arithmetic(task: Task) -> float | None:
  """Multiplications and additions that a task cannot do without, in 1e9.

  Convolutions and dense layers only. The first layer counts once where it is
  reused, and its input gradient only where the task needs one.
  """
  if task.net == "none" and task.kind == "sgemm":
    return 2 * task.iterations**3 / 1e9
  if task.net not in ("cnn", "vgg"):
    return None
  first = rest = 0.0
  for layer in layers(task):
    work = 2.0 * task.batch * layer.inputs * layer.outputs
    if layer.name == "conv1":
      repeats = 1 if task.reuse else task.steps
      first = work * 9 * layer.side**2 * repeats
    elif layer.kind is Kind.CONVOLUTION:
      rest += work * 9 * layer.side**2 * task.steps
    elif layer.kind is Kind.DENSE:
      rest += work * (1 if layer.name == "head" else task.steps)
  # Passes over the first layer and over the others: forward, input gradient,
  # weight gradient.
  passes = {
    "infer": (1, 1),
    "train": (2, 3),
    "hire": (3, 3),
    "sr": (5, 7),
    "pgd": (2 * task.iterations, 2 * task.iterations),
    "summed_gradient": (2, 2),
    "per_example_gradient": (2, 2),
  }
  if task.kind not in passes:
    return None
  of_first, of_rest = passes[task.kind]
  return (of_first * first + of_rest * rest) / 1e9
