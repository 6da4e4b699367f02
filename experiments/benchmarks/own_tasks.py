"""Our library's side of every task."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import own_attacks, own_network, own_suite, problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.tasks import Task
from snnjax import (
  attacks,
  input_gradients,
  losses,
  methods,
  models,
  regularizers,
  sparsity,
  surrogates,
  training,
)
from snnjax.interfaces import Array, Batch, Inputs, Objective, PyTree, Variables
from snnjax.kernels import convolution
from snnjax.kernels.scan import neuron_scan

Method = methods.Method | Objective


def prepare(library: str, task: Task) -> Prepared:
  """Prepares a task of any kind."""
  del library
  return _KINDS[task.kind](task)


def compile_waiting(
  function: Callable[..., PyTree], *arguments: PyTree
) -> Callable[[], None]:
  """Compiles a function; each call runs it and waits for its result."""
  compiled = jax.jit(function)

  def call() -> None:
    jax.block_until_ready(compiled(*arguments))

  return call


# Row A.


_UNROLLED = 8  # up to so many steps a forward pass is unrolled


def layer(
  currents: Array, detach_reset: bool = False, *, unroll: bool = False
) -> Array:
  """Spikes [T, N] of the LIF layer alone: see `neuron_scan`."""
  neuron, surrogate = own_network.neuron(), surrogates.triangle(1.0)

  def fire(charged: Array, current: Array) -> tuple[Array, Array]:
    del current
    drive = neuron.drive(charged)
    spikes = surrogates.spike(drive, surrogate, neuron.strict)
    resets = jax.lax.stop_gradient(spikes) if detach_reset else spikes
    return neuron.reset(charged, resets), spikes

  state = neuron.init(currents[0])
  scanned = neuron_scan(neuron.integrate, fire, state, currents, unroll=unroll)
  return scanned[1]


def _lif_evidence(currents: Array, cotangents: Array) -> dict[str, np.ndarray]:
  first_neurons = (currents[:, :1024], cotangents[:, :1024])
  spikes, pull = jax.vjp(layer, first_neurons[0])
  _, detached = jax.vjp(
    functools.partial(layer, detach_reset=True), first_neurons[0]
  )
  return {
    "spikes": np.asarray(spikes),
    "gradient": np.asarray(pull(first_neurons[1])[0]),
    "gradient_detached": np.asarray(detached(first_neurons[1])[0]),
  }


def _lif_forward(task: Task) -> Prepared:
  currents, cotangents = (jnp.asarray(a) for a in problems.currents(task))
  evidence = _lif_evidence(currents, cotangents)
  run = functools.partial(layer, unroll=task.steps <= _UNROLLED)
  return Prepared(compile_waiting(run, currents), evidence)


def _lif_gradient(task: Task) -> Prepared:
  currents, cotangents = (jnp.asarray(a) for a in problems.currents(task))

  def both(currents: Array, cotangents: Array) -> tuple[Array, Array]:
    spikes, pull = jax.vjp(layer, currents)
    return spikes, pull(cotangents)[0]

  # What the backward pass stores, the currents themselves included.
  residuals = jax.eval_shape(lambda x: jax.vjp(layer, x)[1], currents)
  size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(residuals))
  return Prepared(
    compile_waiting(both, currents, cotangents),
    _lif_evidence(currents, cotangents),
    {"kept_per_input": size / currents.nbytes},
  )


# Networks.


def _check(task: Task) -> Prepared:
  """Everything that other libraries are compared by; nothing worth timing."""
  setup = own_network.setup(task)
  train = task.net == "vgg"  # as in SR's code, with the batch's statistics

  # The weights are an argument: constants would be folded for minutes.
  def evidence(
    detach: bool, variables: Variables, batch: Batch
  ) -> dict[str, Array]:
    rule = own_network.rule(detach)
    objective = _objective(setup, rule, "sr")

    def loss(params: PyTree, x: Array) -> tuple[Array, dict[str, Array]]:
      variables_of_step = {**variables, "params": params}
      run = setup.network.apply(variables_of_step, x, rule=rule, train=train)
      total = jnp.sum(losses.cross_entropy(run.logits, batch.labels))
      spikes = run.traces["body/spike1"].spikes
      return total, {"logits": run.logits, "spikes": spikes[:, :2]}

    def penalized(params: PyTree) -> Array:
      variables_of_step = {**variables, "params": params}
      return objective(
        variables_of_step, jax.random.key(0), batch, jnp.zeros((), int)
      )[0]

    both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, outputs), (weight, pixel) = both(variables["params"], batch.inputs)
    total, slope = jax.value_and_grad(penalized)(variables["params"])
    return {
      **outputs,
      "sr_loss": total,
      "sr_gradient": slope["body"]["conv2"]["kernel"],
      "weight_gradient": weight["body"]["conv2"]["kernel"],
      "input_gradient": pixel,
    }

  compiled = jax.jit(evidence, static_argnums=0)
  arrays = dict(compiled(False, setup.variables, setup.batch))
  if task.net == "cnn":
    detached = compiled(True, setup.variables, setup.batch)
    arrays |= {f"{name}_detached": value for name, value in detached.items()}
  return Prepared(lambda: None, {n: np.asarray(a) for n, a in arrays.items()})


def _infer(task: Task) -> Prepared:
  setup = own_network.setup(task)

  def logits(variables: Variables, images: Array) -> Array:
    run = setup.network.apply(variables, images, rule=own_network.rule())
    return run.logits

  return Prepared(compile_waiting(logits, setup.variables, setup.batch.inputs))


def _objective(setup: own_network.Setup, rule: Any, kind: str) -> Objective:
  estimators = {
    "sr": regularizers.finite_difference(problems.STEP),
    "sr_jvp": regularizers.jvp,
  }
  if kind == "train":
    return methods.vanilla(setup.network, rule=rule)
  return methods.sr(
    setup.network,
    rule=rule,
    weight=problems.WEIGHT,
    estimator=estimators[kind],
  )


def optimizer() -> optax.GradientTransformation:
  """The benchmark's optimiser: plain momentum."""
  return optax.sgd(problems.RATE, momentum=problems.MOMENTUM)


def initial_state(
  setup: own_network.Setup, method: Method
) -> training.TrainState:
  """The state before the first step, with the benchmark's weights."""
  params = setup.variables["params"]
  return training.TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=setup.variables["batch_stats"],
    opt_state=optimizer().init(params),
    key=jax.random.key(0),
    carried=methods.as_method(method).init(setup.batch),
  )


def method(task: Task, setup: own_network.Setup) -> Method:
  """The task's training method."""
  rule = own_network.rule()
  if task.kind != "hire":
    return _objective(setup, rule, task.kind)
  return methods.hire(
    setup.network,
    rule=rule,
    steps=task.steps,
    periods=problems.PERIODS,
    step_size=problems.ATTACK_STEP,
    radius=problems.RADIUS,
  )


def _train(task: Task) -> Prepared:
  setup = own_network.setup(task)
  chosen = method(task, setup)
  step = jax.jit(
    training.make_train_step(chosen, optimizer()), donate_argnums=0
  )
  # A donated buffer is overwritten: the state must not share the setup's.
  states = [jax.tree.map(jnp.copy, initial_state(setup, chosen))]
  batch = setup.batch  # and not the weights, which would be kept twice

  def call() -> None:
    states[0], metrics = step(states[0], batch)
    jax.block_until_ready((states[0].params, metrics))

  return Prepared(call)


def pgd(
  task: Task, setup: own_network.Setup
) -> Callable[[Variables, Batch], Inputs]:
  """PGD on the cross-entropy, from the image; keeps the strongest point."""

  def attack(variables: Variables, batch: Batch) -> Inputs:
    logits = models.classifier(
      setup.network, variables, rule=own_network.rule()
    )
    run = attacks.pgd(
      logits,
      attacks.linf(problems.RADIUS),
      step_size=problems.ATTACK_STEP,
      steps=task.iterations,
      random_start=False,
    )
    return run(jax.random.key(0), batch.inputs, batch.labels).inputs

  return attack


def _pgd(task: Task) -> Prepared:
  setup = own_network.setup(task)
  return Prepared(
    compile_waiting(pgd(task, setup), setup.variables, setup.batch)
  )


# Rows D, G and H.


def _gradient(task: Task) -> Prepared:
  setup = own_network.setup(task)
  forms = {
    "summed_gradient": input_gradients.summed,
    "per_example_gradient": input_gradients.per_example,
  }

  def gradient(variables: Variables, batch: Batch) -> Inputs:
    logits = models.classifier(
      setup.network, variables, rule=own_network.rule()
    )
    fn = losses.composed(logits, losses.cross_entropy)
    return forms[task.kind](fn)(jax.random.key(0), batch.inputs, batch.labels)

  return Prepared(compile_waiting(gradient, setup.variables, setup.batch))


def _sparsity(task: Task) -> Prepared:
  images, _ = problems.batch(task)
  gradients = jnp.asarray(images) - 0.5

  def call() -> None:
    jax.block_until_ready(sparsity.measure(gradients))

  return Prepared(call)


def _seeds(task: Task) -> Prepared:
  setup = own_network.setup(task._replace(kind="train"))
  chosen = methods.vanilla(setup.network, rule=own_network.rule())
  step = training.make_train_step(chosen, optimizer())
  first = initial_state(setup, chosen)
  states = [
    first._replace(
      params=jax.tree.map(lambda w, f=1 + n / 100: w * f, first.params)
    )
    for n in range(task.iterations)
  ]
  if task.kind != "seeds_loop":
    mapped = task.kind == "seeds_vmap"
    together = (
      jax.vmap(step, (0, None)) if mapped else training.over_seeds(step)
    )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return Prepared(compile_waiting(together, stacked, setup.batch))
  alone = jax.jit(step)

  def call() -> None:
    for state in states:
      jax.block_until_ready(alone(state, setup.batch))

  return Prepared(call)


def _sgemm(task: Task) -> Prepared:
  square = jnp.ones((task.iterations, task.iterations), jnp.float32)
  return Prepared(compile_waiting(jnp.matmul, square, square))


def _copy(task: Task) -> Prepared:
  array = jnp.ones((task.iterations, task.iterations), jnp.float32)
  moved = 2 * array.nbytes / 1e9
  return Prepared(
    compile_waiting(lambda x: x + 1, array), notes={"gigabytes": moved}
  )


# Row K: a form pays as long as it takes less than `lax`'s.


def _convolution(task: Task) -> Prepared:
  form, _, part = task.kind.partition("_")
  convolve = {
    "own": convolution.convolve,
    "lax": convolution.convolve_reference,
  }[form]
  keys = jax.random.split(jax.random.key(0), 3)
  colors, features = task.channels
  shape = (task.batch, task.side, task.side, colors)
  images = jax.random.normal(keys[0], shape)
  kernel = jax.random.normal(keys[1], (3, 3, colors, features))
  if part == "forward":
    return Prepared(compile_waiting(convolve, images, kernel))

  def gradients(images: Array, kernel: Array, outputs: Array) -> PyTree:
    return jax.vjp(convolve, images, kernel)[1](outputs)

  outputs = jax.random.normal(keys[2], (*shape[:3], features))
  return Prepared(compile_waiting(gradients, images, kernel, outputs))


_KINDS: dict[str, Callable[[Task], Prepared]] = {
  "lif_forward": _lif_forward,
  "lif_gradient": _lif_gradient,
  "check": _check,
  "infer": _infer,
  "train": _train,
  "sr": _train,
  "sr_jvp": _train,
  "hire": _train,
  "pgd": _pgd,
  "summed_gradient": _gradient,
  "per_example_gradient": _gradient,
  "sparsity": _sparsity,
  "seeds_loop": _seeds,
  "seeds_vmap": _seeds,
  "over_seeds": _seeds,
  "sgemm": _sgemm,
  "copy": _copy,
  **dict.fromkeys(own_attacks.ATTACKS, own_attacks.prepare),
  "suite_survivors": own_suite.prepare,
  "suite_all": own_suite.prepare,
  "own_forward": _convolution,
  "lax_forward": _convolution,
  "own_gradients": _convolution,
  "lax_gradients": _convolution,
}
