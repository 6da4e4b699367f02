"""The grid of attacks of an evaluation: targets x radii x (rules, baselines).

All networks of one architecture and all radii share one compilation per rule:
a modality that is not attacked has radius 0.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments import build
from snnjax import attacks, losses, models
from snnjax import evaluation as evaluating
from snnjax.types import Inputs, Key, LogitsFn, Network, Variables

Radii = Any  # a scalar, or one per modality
RANDOM = "random"
FGSM = "fgsm"


class Cell(NamedTuple):
  """One target at one radius.

  Attributes:
    target: a modality, or "both".
    level: position of the radius in the configuration.
    radii: per modality; 0 where it is not attacked.
  """

  target: str
  level: int
  radii: Mapping[str, float]

  def case(self, attack: str) -> str:
    """The name under which an attack of this cell is evaluated."""
    return f"{self.target}/{self.level}/{attack}"


def cells(config: Any, modalities: tuple[str, ...]) -> list[Cell]:
  """Returns every target at every radius, the smallest radius first.

  Args:
    config: the whole configuration.
    modalities: of the data.

  Raises:
    ValueError: if the modalities' lists of radii differ in length.
  """
  epsilons = {name: config.evaluation.epsilons[name] for name in modalities}
  lengths = {name: len(values) for name, values in epsilons.items()}
  if len(set(lengths.values())) != 1:
    raise ValueError(
      "evaluation.epsilons must have as many radii for every modality; got "
      f"{lengths}"
    )
  targets = list(modalities) + (["both"] if len(modalities) > 1 else [])
  return [
    Cell(
      target,
      level,
      {
        name: float(values[level]) if target in (name, "both") else 0.0
        for name, values in epsilons.items()
      },
    )
    for target in targets
    for level in range(next(iter(lengths.values())))
  ]


class Grid(NamedTuple):
  """Builders of cases that compile once for all networks and radii.

  Attributes:
    white_box: by rule, ``(variables, radii) -> Case``.
    fgsm: one step under the network's own rule.
    random: uniform noise.
    classify: ``(variables, keys, inputs) -> logits``.
  """

  white_box: Mapping[str, Any]
  fgsm: Any
  random: Any
  classify: Any


def grid(config: Any, network: Network) -> Grid:
  """Returns the builders for the networks of one architecture.

  Args:
    config: the whole configuration.
    network: run under the rules of ``config.evaluation.rules``.
  """
  options = config.evaluation
  own = config.model.rule
  rules = {name: build.rule(config, name) for name in (own, *options.rules)}

  def logits(rule: str, variables: Variables) -> LogitsFn:
    return models.classifier(network, variables, rule=rules[rule])

  def loss(rule: str, variables: Variables) -> Any:
    return losses.scored(logits(rule, variables), losses.cross_entropy)

  def white_box(
    rule: str, variables: Variables, radii: Radii
  ) -> evaluating.Case:
    threat = build.threat_of(options.norm, radii)
    steps = jax.tree.map(lambda r: 2.5 * r / options.steps, radii)
    attack = attacks.pgd(
      loss(rule, variables), threat, step_size=steps, steps=options.steps
    )
    return evaluating.Case(attack, threat)

  def fgsm(variables: Variables, radii: Radii) -> evaluating.Case:
    threat = build.threat_of(options.norm, radii)
    return evaluating.Case(attacks.fgsm(loss(own, variables), threat), threat)

  def noise(variables: Variables, radii: Radii) -> evaluating.Case:
    threat = build.threat_of(options.norm, radii)
    attack = attacks.random_noise(
      loss(own, variables), threat, draws=options.random_draws
    )
    return evaluating.Case(attack, threat)

  def classify(variables: Variables, key: Key, inputs: Inputs) -> jax.Array:
    return logits(own, variables)(key, inputs)

  return Grid(
    {rule: functools.partial(white_box, rule) for rule in options.rules},
    fgsm,
    noise,
    classify,
  )


def cases(
  made: Grid, variables: Variables, wanted: list[Cell], rules: list[str]
) -> dict[str, Any]:
  """Returns the builders of `wanted` cells by case name.

  Args:
    made: from `grid`.
    variables: of the network under attack.
    wanted: the cells.
    rules: which white-box attacks; FGSM and random noise are always there.
  """
  builders = {rule: made.white_box[rule] for rule in rules}
  builders |= {FGSM: made.fgsm, RANDOM: made.random}
  return {
    cell.case(name): jax.tree_util.Partial(
      builder, variables, traced(cell.radii)
    )
    for cell in wanted
    for name, builder in builders.items()
  }


def traced(radii: Mapping[str, float]) -> Radii:
  """Radii as arrays, so that no value of theirs is compiled in."""
  arrays = {name: jnp.asarray(value) for name, value in radii.items()}
  return next(iter(arrays.values())) if len(arrays) == 1 else arrays
