"""Training methods, by the name that a configuration gives."""

import functools
from collections.abc import Callable, Mapping

from experiments.building import build, networks
from experiments.configuration.schema import Config
from snnjax import attacks, losses, methods, models, regularizers
from snnjax.attacks.gradient.slide import sparse_steps
from snnjax.interfaces import Attack, LogitsFn, Network, Objective
from snnjax.methods import Method

NOISES = {
  "crafted": methods.crafted,
  "off": methods.no_noise,
  "random": methods.scattered,
}
ESTIMATORS = {
  "finite_difference": regularizers.finite_difference,
  "jvp": lambda step: regularizers.jvp,
  "double_backpropagation": lambda step: regularizers.double_backpropagation,
}
DIRECTIONS = {
  "l1": regularizers.sign_direction,
  "l2": regularizers.unit_direction,
  "linf": regularizers.peak_direction,
}
# Of the term that moves the participation ratio, exact ones.
PROBES = {
  "none": None,
  "jvp": regularizers.jvp,
  "double_backpropagation": regularizers.double_backpropagation,
}
SHAPES = {"squared": regularizers.squared, "absolute": regularizers.absolute}
# The key of a modality's radius, by norm.
RADII = {"linf": "radius", "l2": "radius_l2", "l1": "radius_l1"}
CONFIDENCES = {
  "rival_probability": losses.rival_probability,
  "softmax_probability": losses.softmax_probability,
  "margin": losses.margin,
  "surprisal": losses.surprisal,
}


def method(config: Config, made: Network) -> Method | Objective:
  """Builds the training method of ``config.method`` for a network.

  The network computes as exactly as ``config.precision`` says, in the attacks
  of adversarial training too; in finite differences, and whatever shares a pass
  with them, as ``config.method.sr.precision`` says. Its neurons are computed as
  ``config.kernel`` says.
  """
  training = networks.as_trained(config, made)
  name = config.method.name
  return build.chosen(METHODS, "method.name", name)(config, training)


def _vanilla(config: Config, made: Network) -> Objective:
  return methods.vanilla(made, rule=build.rule(config, config.model.rule))


def _sr(config: Config, made: Network) -> Objective:
  own = config.method.sr
  estimator = build.chosen(ESTIMATORS, "method.sr.estimator", own.estimator)
  if own.estimator == "finite_difference":
    made = models.at_precision(made, own.precision)
  probe = build.chosen(
    PROBES, "method.sr.participation_estimator", own.participation_estimator
  )
  return methods.sr(
    made,
    rule=build.rule(config, config.model.rule),
    weight=own.weight,
    confidence=build.chosen(
      CONFIDENCES, "method.sr.confidence", own.confidence
    ),
    direction=build.chosen(DIRECTIONS, "method.sr.direction", own.direction),
    estimator=estimator(own.difference),
    shape=build.chosen(SHAPES, "method.sr.shape", own.shape),
    # Without an estimator there is no term, whatever its traced weight.
    participation=None if probe is None else own.participation,
    participation_estimator=probe or regularizers.jvp,
  )


def _hire(config: Config, made: Network) -> Method:
  own, seen = config.method.hire, config.seen
  return methods.hire(
    made,
    rule=build.rule(config, config.model.rule),
    steps=config.model.steps,
    periods=own.periods,
    step_size={name: each.step_size for name, each in seen.items()},
    radius={name: each.radius for name, each in seen.items()},
    noise=build.chosen(NOISES, "method.hire.noise", own.noise),
    framed=[
      n for n, each in seen.items() if each.encoder in networks.FRAMED_ENCODERS
    ],
    keep_membranes=own.keep_membranes,
    keep_noise=own.keep_noise,
  )


def _adversarial(
  inner: Callable[[Config, Network], Objective],
) -> Callable[[Config, Network], Method]:
  """A method of plain objectives on attacked inputs."""

  def method(config: Config, made: Network) -> Method:
    return methods.adversarial(
      inner(config, made),
      network=made,
      craft=functools.partial(craft, config),
      rule=build.rule(config, config.model.rule),
    )

  return method


METHODS: Mapping[str, Callable[[Config, Network], Method | Objective]] = {
  "vanilla": _vanilla,
  "sr": _sr,
  "hire": _hire,
  "adversarial": _adversarial(_vanilla),
  "sr_adversarial": _adversarial(_sr),
}


def craft(config: Config, logits_fn: LogitsFn) -> Attack:
  """Builds the attack inside adversarial training: of several norms, the worst.

  Args:
    config: the whole configuration.
    logits_fn: what is attacked.
  """
  own = config.method.adversarial
  each = [_of_norm(config, norm, logits_fn) for norm in own.norms]
  if len(each) == 1:
    return each[0]
  # By the loss, which training descends, not by success.
  return attacks.worst_of(each, keep=attacks.best_loss)


def _of_norm(config: Config, norm: str, logits_fn: LogitsFn) -> Attack:
  """PGD in one norm, or FGSM for one step.

  Under l1 both spread their steps as SLIDE does: the steepest step is one
  coordinate. Steps are of ``step_size`` under linf, elsewhere of 2.5 radii
  over their number.
  """
  steps, seen = config.method.adversarial.steps, config.seen
  key = build.chosen(RADII, "method.adversarial.norms", norm)
  threat = build.threat_of(
    norm, {name: getattr(each, key) for name, each in seen.items()}
  )
  if norm == "l1" and steps > 1:
    return attacks.slide(logits_fn, threat, steps=steps)
  if steps == 1:
    spread = sparse_steps(threat, 0.01) if norm == "l1" else threat
    return attacks.fgsm(logits_fn, spread)
  sizes = {name: each.step_size for name, each in seen.items()}
  return attacks.pgd(
    logits_fn,
    threat,
    step_size=sizes if norm == "linf" else None,
    steps=steps,
  )
