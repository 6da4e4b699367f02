"""One pure training step for one seed or many: no loop, no input or output."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from snnjax import sharding
from snnjax.arguments import as_labels, describe
from snnjax.interfaces import (
  Array,
  Aux,
  Batch,
  Key,
  Network,
  Objective,
  PyTree,
  Variables,
)
from snnjax.kernels.isolate import isolated
from snnjax.methods.method import Method, Stage, as_method
from snnjax.prng import batch_size

StepMetrics = Mapping[str, Array]
TrainStep = Callable[["TrainState", Batch], tuple["TrainState", StepMetrics]]

# Seeds that one turn of a CPU's loop trains: 12 % faster than a loop over
# single ones, for 4 s more of compilation.
_SEEDS_AT_ONCE = 8


class TrainState(NamedTuple):
  """Everything that training changes.

  Attributes:
    step: number of batches seen.
    params: weights.
    batch_stats: normalisation statistics.
    opt_state: the optimiser's state.
    key: the run's key; a step uses ``fold_in(key, step)``.
    carried: what the method carries between batches.
  """

  step: Array
  params: PyTree
  batch_stats: PyTree
  opt_state: optax.OptState
  key: Key
  carried: PyTree

  @property
  def variables(self) -> Variables:
    """The network's variables, as ``Network.apply`` takes them."""
    return {"params": self.params, "batch_stats": self.batch_stats}


def init_state(
  key: Key,
  network: Network,
  method: Method | Objective,
  tx: optax.GradientTransformation,
  batch: Batch,
) -> TrainState:
  """Returns the state before the first step.

  Args:
    key: a scalar key, for the weights and all later steps.
    network: initialised on the batch's inputs.
    method: what will be trained.
    tx: the optimiser.
    batch: any batch of the shapes to come.
  """
  init_key, run_key = jax.random.split(key)
  variables = network.init(init_key, batch.inputs)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=tx.init(variables["params"]),
    key=run_key,
    carried=as_method(method).init(batch),
  )


def make_train_step(
  method: Method | Objective, tx: optax.GradientTransformation
) -> TrainStep:
  """Returns ``(state, batch) -> (state, metrics)``, pure and not jitted.

  Metrics are means over the method's updates of the batch, with the global
  norm of the weights' gradient as "gradient_norm".

  Args:
    method: a `Method`, or an `Objective` for one update per batch.
    tx: the optimiser.

  Raises:
    ValueError: if an argument is something else.
  """
  if not (hasattr(tx, "init") and hasattr(tx, "update")):
    raise ValueError(
      f"tx must be an optax transformation; got {describe(tx)}. "
      "optax.adam(1e-3) is one"
    )
  staged = as_method(method)

  def update(
    state: TrainState, stage: Stage, key: Key, batch: Batch, number: int
  ) -> tuple[TrainState, Stage, StepMetrics]:
    objective_key, advance_key = jax.random.split(key)

    def loss(
      params: PyTree, perturbation: PyTree
    ) -> tuple[Array, tuple[Aux, PyTree]]:
      variables = {"params": params, "batch_stats": state.batch_stats}
      return staged.objective(
        variables,
        stage._replace(perturbation=perturbation),
        objective_key,
        batch,
        state.step,
        number,
      )

    # Weights and perturbation in one backward pass: HIRE's noise costs nothing.
    (_, (aux, memory)), (gradient, input_gradient) = jax.value_and_grad(
      loss, argnums=(0, 1), has_aux=True
    )(state.params, stage.perturbation)
    updates, opt_state = tx.update(gradient, state.opt_state, state.params)
    stage = staged.advance(
      advance_key, stage._replace(memory=memory), input_gradient
    )
    state = state._replace(
      params=optax.apply_updates(state.params, updates),
      batch_stats=aux.batch_stats,
      opt_state=opt_state,
    )
    norm = optax.tree.norm(gradient)
    return state, stage, {**aux.metrics, "gradient_norm": norm}

  def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
    size = batch_size(batch.inputs)
    batch = batch._replace(
      labels=as_labels(batch.labels, size), mask=jnp.asarray(batch.mask)
    )
    # By the step's number, not by splitting on: a resumed run draws the same.
    key = jax.random.fold_in(state.key, state.step)
    stage = staged.begin(state.carried, batch)
    # Unrolled: there are few updates per batch, and each may differ in its
    # program.
    history = []
    for number in range(staged.updates):
      state, stage, metrics = update(
        state, stage, jax.random.fold_in(key, number), batch, number
      )
      history.append(metrics)
    state = state._replace(step=state.step + 1, carried=staged.finish(stage))
    means = jax.tree.map(lambda *values: sum(values) / len(values), *history)
    return state, means

  return step


def over_seeds(step: TrainStep, mesh: Mesh | None = None) -> TrainStep:
  """Returns the step of many runs on the same batch, one for each seed.

  It is ``jax.vmap(step, (0, None))``, but on a CPU the runs take their turns:
  the arrays of a mapped network are S times as large and leave the cache, and
  XLA repeats some of the work for each of their uses. There, every run's
  result is that of the step alone to the last bit.

  Args:
    step: as `make_train_step` returns it.
    mesh: of `sharding.over_devices`: every device trains its share of the
      seeds on the whole batch, and none waits for another.

  Returns:
    ``(states, batch) -> (states, metrics)``, every array of the states and
    metrics with a leading axis [S]. Such states come from ``jax.vmap(lambda
    key: init_state(key, network, method, tx, batch))(keys)``. ValueError if
    the mesh has a number of devices that does not divide S.
  """
  alone = isolated(step)

  def in_turn(
    states: TrainState, batch: Batch
  ) -> tuple[TrainState, StepMetrics]:
    def turn(_: None, state: TrainState) -> tuple[None, PyTree]:
      return None, alone(state, batch)

    return lax.scan(turn, None, states, unroll=_SEEDS_AT_ONCE)[1]

  together = jax.vmap(step, (0, None))

  def many(states: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
    return lax.platform_dependent(states, batch, cpu=in_turn, default=together)

  if mesh is None:
    return many

  def spread(
    states: TrainState, batch: Batch
  ) -> tuple[TrainState, StepMetrics]:
    seeds = len(states.step)
    if seeds % mesh.size:
      raise ValueError(
        f"states must be of a multiple of the mesh's {mesh.size} devices; got "
        f"{seeds} seeds"
      )
    turned = sharding.on_own_rows(lambda batch, own: many(own, batch), mesh)
    result: tuple[TrainState, StepMetrics] = turned(batch, states)
    return result

  return spread
