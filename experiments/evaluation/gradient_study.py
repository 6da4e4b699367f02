"""The gradient study of an evaluation, as its configuration says."""

import jax
from jax.sharding import Mesh

from experiments.building import build
from experiments.command.progress import Progress, silent
from experiments.configuration.schema import Config
from experiments.planning import attack_grid
from snnjax.evaluation import GradientStudy, Plan, gradients
from snnjax.interfaces import Batch, LogitsFn

_WORDS = "measure gradients"
_SITES_STEP = 100.0  # the default of attacks.pgd_l0


def measure(config: Config, plan: Plan) -> gradients.Measure:
  """Returns the compiled measurement of one microbatch.

  The attack is PGD under the network's own rule on all modalities, with the
  largest radii of the first norm.

  Args:
    config: the whole configuration.
    plan: of the evaluation.
  """
  options = config.evaluation
  norm, radii = plan.strongest.norm, attack_grid.traced(plan.strongest)
  # A number of sites is no length: there the steps are PGD-l0's.
  sites = norm == "l0"
  return gradients.measure_gradients(
    build.threat_of(norm, radii),
    step_size=jax.tree.map(
      lambda r: _SITES_STEP if sites else 2.5 * r / options.steps, radii
    ),
    steps=options.steps,
    random_draws=options.random_draws,
  )


def study(
  config: Config,
  measure_microbatch: gradients.Measure,
  logits: LogitsFn,
  batch: Batch,
  progress: Progress = silent,
  mesh: Mesh | None = None,
) -> GradientStudy:
  """Measures a network in microbatches of one size.

  Args:
    config: the whole configuration.
    measure_microbatch: from `measure`.
    logits: the network's under its own rule, a `jax.tree_util.Partial` of its
      variables.
    batch: N examples, at least 1.
    progress: told of every microbatch.
    mesh: of devices that measure a microbatch each; None is one.
  """
  return gradients.in_microbatches(
    measure_microbatch,
    logits,
    batch.inputs,
    batch.labels,
    key=build.key(config, "gradient study"),
    microbatch=config.evaluation.microbatch,
    progress=lambda done, total: progress(done, total, _WORDS),
    mesh=mesh,
  )
