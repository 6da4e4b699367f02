"""Spyx's side: its modules in its scan, layers once per step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import spyx
from flax import nnx
from spyx import axn

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import CannotError, Prepared
from experiments.benchmarks.problems import Kind
from experiments.benchmarks.tasks import Task


def prepare(library: str, task: Task) -> Prepared:
  """Prepares a task of any kind that Spyx can do."""
  del library
  if task.kind not in _KINDS:
    raise CannotError(f"no {task.kind} in Spyx")
  return _KINDS[task.kind](task)


def _neuron(shape: tuple[int, ...]) -> Any:
  return spyx.nn.LIF(
    shape,
    beta=problems.LEAK,
    threshold=problems.THRESHOLD,
    activation=axn.triangular(1.0),
    rngs=nnx.Rngs(0),
  )


def _lif_call(task: Task, backward: bool) -> Prepared:
  currents, cotangents = (jnp.asarray(a) for a in problems.currents(task))
  # One example of N features: its scan is over [T, B, ...].
  graph, values = nnx.split(_neuron((task.batch,)))
  sequence = currents[:, None]

  def spikes(values: Any, sequence: Any) -> Any:
    return spyx.nn.run(nnx.merge(graph, values), sequence)[0]

  def both(values: Any, sequence: Any, cotangents: Any) -> Any:
    out, pull = jax.vjp(lambda x: spikes(values, x), sequence)
    return out, pull(cotangents)[0]

  if not backward:
    compiled = jax.jit(spikes)
    return _ready(lambda: compiled(values, sequence))
  compiled = jax.jit(both)
  return _ready(lambda: compiled(values, sequence, cotangents[:, None]))


def _ready(run: Callable[[], Any]) -> Prepared:
  return Prepared(lambda: _wait(run()))


def _wait(result: Any) -> None:
  jax.block_until_ready(result)


def _model(task: Task) -> Any:
  """The two-convolution network with the benchmark's weights."""
  values = problems.weights(task)
  modules: list[Any] = []
  for layer in problems.layers(task):
    sizes = (layer.inputs, layer.outputs)
    if layer.kind is Kind.CONVOLUTION:
      modules.append(nnx.Conv(*sizes, (3, 3), rngs=nnx.Rngs(0)))
    elif layer.kind is Kind.SPIKE:
      modules.append(_neuron((layer.side, layer.side, layer.outputs)))
    elif layer.kind is Kind.POOL:
      modules.append(lambda x: nnx.avg_pool(x, (2, 2), strides=(2, 2)))
    elif layer.kind is Kind.FLATTEN:
      modules.append(spyx.nn.Flatten())
    elif layer.kind is Kind.DENSE:
      modules.append(nnx.Linear(*sizes, rngs=nnx.Rngs(0)))
    else:
      raise CannotError("no normalisation in the benchmark's Spyx network")
    if layer.name in values:
      modules[-1].kernel[...] = jnp.asarray(values[layer.name]["kernel"])
      modules[-1].bias[...] = jnp.asarray(values[layer.name]["bias"])
  return spyx.nn.Sequential(*modules)


def _network(task: Task) -> tuple[Any, Callable[[Any, Any], Any]]:
  """The weights, and ``(weights, images) -> logits``."""
  graph, values = nnx.split(_model(task))

  def logits(values: Any, images: Any) -> Any:
    shape = (task.steps, *images.shape)
    sequence = jnp.broadcast_to(images[None], shape)
    outputs = spyx.nn.run(nnx.merge(graph, values), sequence)[0]
    return jnp.mean(outputs, axis=0)

  return values, logits


def _cross_entropy(logits: Any, labels: Any) -> Any:
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _infer(task: Task) -> Prepared:
  images, _ = (jnp.asarray(a) for a in problems.batch(task))
  values, logits = _network(task)
  compiled = jax.jit(logits)
  return _ready(lambda: compiled(values, images))


def _train(task: Task) -> Prepared:
  images, labels = (jnp.asarray(a) for a in problems.batch(task))
  values, logits = _network(task)
  optimizer = optax.sgd(problems.RATE, momentum=problems.MOMENTUM)

  def loss(values: Any) -> Any:
    if task.kind == "train":
      return jnp.mean(_cross_entropy(logits(values, images), labels))

    def confidence(x: Any, rival: Any = None) -> Any:
      z = logits(values, x)
      others = z - jax.nn.one_hot(labels, z.shape[1]) * 1e9
      rival = jnp.argmax(others, 1) if rival is None else rival
      rows = jnp.arange(z.shape[0])
      return jax.nn.sigmoid(z[rows, labels] - z[rows, rival]), (z, rival)

    clean, pull, (z, rival) = jax.vjp(confidence, images, has_aux=True)
    direction = jax.lax.stop_gradient(jnp.sign(pull(jnp.ones_like(clean))[0]))
    moved, _ = confidence(images + problems.STEP * direction, rival)
    slope = (moved - clean) / problems.STEP
    entropy = jnp.mean(_cross_entropy(z, labels))
    return entropy + problems.WEIGHT * jnp.mean(slope**2)

  @jax.jit
  def step(values: Any, state: Any) -> Any:
    updates, state = optimizer.update(jax.grad(loss)(values), state, values)
    return optax.apply_updates(values, updates), state

  states = [(values, optimizer.init(values))]

  def call() -> None:
    states[0] = step(*states[0])
    jax.block_until_ready(states[0])

  return Prepared(call)


def _pgd(task: Task) -> Prepared:
  images, labels = (jnp.asarray(a) for a in problems.batch(task))
  values, logits = _network(task)

  @jax.jit
  def attack(values: Any, images: Any) -> Any:
    def loss(x: Any) -> Any:
      return jnp.sum(_cross_entropy(logits(values, x), labels))

    def step(_: Any, x: Any) -> Any:
      x = x + problems.ATTACK_STEP * jnp.sign(jax.grad(loss)(x))
      x = jnp.clip(x, images - problems.RADIUS, images + problems.RADIUS)
      return jnp.clip(x, 0, 1)

    return jax.lax.fori_loop(0, task.iterations, step, images)

  return _ready(lambda: attack(values, images))


_KINDS: dict[str, Callable[[Task], Prepared]] = {
  "lif_forward": lambda task: _lif_call(task, False),
  "lif_gradient": lambda task: _lif_call(task, True),
  "infer": _infer,
  "train": _train,
  "sr": _train,
  "pgd": _pgd,
}
