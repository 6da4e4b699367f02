"""The gradient study of an evaluation, as its configuration says."""

import jax

from experiments.building import build
from experiments.command.progress import Progress, silent
from experiments.configuration.schema import Config
from experiments.planning import attack_grid
from snnjax.evaluation import GradientStudy, Plan, gradients
from snnjax.interfaces import Batch, LogitsFn

_WORDS = "measure gradients"


def measure(config: Config, plan: Plan) -> gradients.Measure:
  """Returns the compiled measurement of one microbatch.

  The attack is PGD under the network's own rule on all modalities, with the
  largest radii.

  Args:
    config: the whole configuration.
    plan: of the evaluation.
  """
  options = config.evaluation
  radii = attack_grid.traced(plan.strongest)
  return gradients.measure_gradients(
    build.threat_of(options.norm, radii),
    step_size=jax.tree.map(lambda r: 2.5 * r / options.steps, radii),
    steps=options.steps,
    random_draws=options.random_draws,
  )


def study(
  config: Config,
  measure_microbatch: gradients.Measure,
  logits: LogitsFn,
  batch: Batch,
  progress: Progress = silent,
) -> GradientStudy:
  """Measures a network in microbatches of one size.

  Args:
    config: the whole configuration.
    measure_microbatch: from `measure`.
    logits: the network's under its own rule, a `jax.tree_util.Partial` of its
      variables.
    batch: N examples, at least 1.
    progress: told of every microbatch.
  """
  return gradients.in_microbatches(
    measure_microbatch,
    logits,
    batch.inputs,
    batch.labels,
    key=build.key(config, "gradient study"),
    microbatch=config.evaluation.microbatch,
    progress=lambda done, total: progress(done, total, _WORDS),
  )
