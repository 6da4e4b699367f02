"""The standard suite of attacks on a network that withstands little."""

import jax
import jax.numpy as jnp

from experiments.benchmarks import problems
from experiments.benchmarks.measurement import Prepared
from experiments.benchmarks.tasks import Task
from experiments.building import networks
from experiments.configuration.schema import (
  Config,
  Evaluation,
  Image,
  Modalities,
  Model,
  Radii,
)
from experiments.planning import attack_grid, suites
from snnjax import evaluation

_RADII = Radii(linf=(0.3,))


def prepare(task: Task) -> Prepared:
  """Prepares the suite, on survivors as it says or all of it on everyone.

  The network is not trained, and the labels are its own predictions: it is
  right about every example before the attacks, and about few after the first
  one. So the survivors' rule has the most to gain here.
  """
  config = _config(task)
  network = networks.network(config, problems.CLASSES)
  images = {"image": jnp.asarray(problems.batch(task)[0])}
  variables = network.init(jax.random.key(0), images)
  plan = attack_grid.plan(config)
  grid = attack_grid.grid(config, network, plan)
  cases = attack_grid.cases(plan, grid, variables, images)
  survivors = cases.plan.survivors if task.kind == "suite_survivors" else False
  judge = jax.tree_util.Partial(grid.classify, variables)
  keys = jax.random.split(jax.random.key(1), task.batch)
  labels = jnp.argmax(jax.jit(judge)(keys, images), axis=1)

  def run() -> evaluation.Evaluation:
    return evaluation.evaluate(
      cases.builders,
      judge,
      images,
      labels,
      key=jax.random.key(2),
      microbatch=max(1, task.batch // 4),
      survivors=survivors,
    )

  def call() -> None:
    run()

  robust = evaluation.summarize(run()).robust.estimate
  return Prepared(call, {}, {"robust": robust})


def _config(task: Task) -> Config:
  image = Image(channels=task.channels, epsilons=_RADII)
  return suites.resolved(
    Config(
      modalities=Modalities(image=image),
      model=Model(steps=task.steps),
      evaluation=Evaluation(suite="standard"),
    )
  )
