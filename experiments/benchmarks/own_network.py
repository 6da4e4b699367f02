"""Our library's networks with the benchmark's weights, and its batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmarks import problems
from experiments.benchmarks.tasks import Task
from snnjax import backward, encoders, models, neurons, surrogates
from snnjax.interfaces import Array, Batch, Key, Network, Variables


class Setup(NamedTuple):
  """A network with its weights, and one batch.

  Attributes:
    network: built as the task says.
    variables: the benchmark's weights, fresh normalisation statistics.
    batch: images, labels and a full mask.
  """

  network: Network
  variables: Variables
  batch: Batch


def rule(detach_reset: bool = False) -> backward.Bptt:
  """The benchmark's backward rule: a triangle of width 1 at every step."""
  return backward.Bptt(surrogates.triangle(1.0), detach_reset=detach_reset)


def neuron() -> neurons.Neuron:
  """The benchmark's neuron."""
  return neurons.lif(problems.LEAK, problems.THRESHOLD)


def repeat(steps: int) -> encoders.Encoder:
  """Returns an encoder that repeats the image: [B, ...] -> [T, B, ...].

  `encoders.direct` shows the same image, but marks the steps as equal, and the
  first layer then computes one of them. This one has no mark, so that every
  layer computes all T steps.
  """

  def encode(key: Key | None, data: Array) -> Array:
    del key
    return jnp.broadcast_to(data[None], (steps, *data.shape))

  return encoders.Encoder(steps, encode)


def setup(task: Task) -> Setup:
  """Builds what a task needs."""
  make = encoders.direct if task.reuse else repeat
  encoder = make(task.steps)
  if task.net == "vgg":
    layout = models.sr_style()._replace(
      layouts={"benchmark": tuple(task.channels)}
    )
    network = models.vgg(
      "benchmark",
      neuron=neuron(),
      encoder=encoder,
      style=layout,
      hidden=task.hidden,
    )
  else:
    network = models.cnn(task.channels, neuron=neuron(), encoder=encoder)
  images, labels = (jnp.asarray(a) for a in problems.batch(task))
  batch = Batch(images, labels, jnp.ones(task.batch, bool))
  return Setup(network, _variables(task, network, images), batch)


def _variables(task: Task, network: Network, images: Array) -> Variables:
  """The network's tree, filled by layer name."""
  values = problems.weights(task)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)
  fresh = {"scale": 1.0, "bias": 0.0, "mean": 0.0, "var": 1.0}

  def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Array:
    names = [part.key for part in path]
    for name in names:
      if name in values:
        return jnp.asarray(values[name][names[-1]]).reshape(leaf.shape)
    return jnp.full(leaf.shape, fresh[names[-1]], leaf.dtype)

  return jax.tree.map_with_path(fill, shapes)
