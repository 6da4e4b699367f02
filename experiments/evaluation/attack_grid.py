"""The grid of an evaluation: targets x radii x the attacks of a suite.

All networks of one architecture and all radii share one compilation per attack
and rule: a modality that is not attacked has radius 0.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.building import build
from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.configuration.settings import UsageError
from experiments.evaluation import attack_kinds, suites
from snnjax import attacks, models
from snnjax import evaluation as evaluating
from snnjax.interfaces import Attack, Inputs, Key, LogitsFn, Network, Variables

Radii = Mapping[str, jax.Array]  # by modality
Build = Callable[[Variables, Radii], evaluating.Case]
_NOBODY: Mapping[str, LogitsFn] = MappingProxyType({})


class Cell(NamedTuple):
  """One target at one radius.

  Attributes:
    target: a modality, or `schema.JOINT`, all of them.
    level: position of the radius in the configuration.
    radii: per modality; 0 where it is not attacked.
  """

  target: str
  level: int
  radii: Mapping[str, float]

  @property
  def words(self) -> str:
    """The radius of each modality that is attacked, in words."""
    return ", ".join(f"{name} {r:g}" for name, r in self.radii.items() if r)

  def case(self, attack: str) -> str:
    """The name under which an attack of this cell is evaluated."""
    return f"{self.target}/{self.level}/{attack}"


def cells(config: Config, modalities: tuple[str, ...]) -> list[Cell]:
  """Returns every target at every radius, the smallest radius first.

  Args:
    config: the whole configuration.
    modalities: of the data.

  Raises:
    ValueError: if the modalities' lists of radii differ in length.
  """
  epsilons = {name: config.seen[name].epsilons for name in modalities}
  lengths = {name: len(values) for name, values in epsilons.items()}
  if len(set(lengths.values())) != 1:
    raise ValueError(
      "modalities.*.epsilons must be as many for every modality that the "
      f"network sees; got {lengths}"
    )
  targets = [*modalities, *[schema.JOINT] * (len(modalities) > 1)]
  return [
    Cell(
      target,
      level,
      {
        name: float(values[level]) if target in (name, schema.JOINT) else 0.0
        for name, values in epsilons.items()
      },
    )
    for target in targets
    for level in range(next(iter(lengths.values())))
  ]


class Grid(NamedTuple):
  """Builders of cases that compile once for all networks and radii.

  Attributes:
    attacks: in their order.
    build: by attack, ``(variables, radii) -> Case``.
    classify: ``(variables, keys, inputs) -> logits``.
  """

  attacks: Sequence[suites.Attack]
  build: Mapping[str, Build]
  classify: Callable[[Variables, Key, Inputs], jax.Array]


def grid(
  config: Config, network: Network, stand_ins: Mapping[str, LogitsFn] = _NOBODY
) -> Grid:
  """Returns the builders for the networks of one architecture.

  Args:
    config: the whole configuration, its suite resolved.
    network: the architecture.
    stand_ins: other networks by their folder, for attacks that transfer.
  """
  planned = suites.plan(config)
  own = build.rule(config, config.model.rule)

  def classify(variables: Variables, key: Key, inputs: Inputs) -> jax.Array:
    return models.classifier(network, variables, rule=own)(key, inputs)

  def case(
    attack: suites.Attack, variables: Variables, radii: Radii
  ) -> evaluating.Case:
    made = _attack(config, network, variables, radii, attack, stand_ins)
    return evaluating.Case(made, build.threat_of(config.evaluation.norm, radii))

  return Grid(
    planned,
    {each.name: functools.partial(case, each) for each in planned},
    classify,
  )


def _attack(
  config: Config,
  network: Network,
  variables: Variables,
  radii: Radii,
  attack: suites.Attack,
  stand_ins: Mapping[str, LogitsFn],
) -> Attack:
  """Builds one attack from the table, a mixture of rules included."""
  spec, norm = attack.spec, config.evaluation.norm

  def source(rules: tuple[str, ...]) -> Callable[[Any], attacks.Oracle]:
    def oracle(loss: Any) -> attacks.Oracle:
      found = [
        build.attack_oracle(config, network, variables, rule, loss, spec.draws)
        for rule in rules
      ]
      return found[0] if len(found) == 1 else attacks.gradient_mean(found)

    return oracle

  def one(rules: tuple[str, ...]) -> Attack:
    # What adapts gives no logits of its own; nor does its forward pass differ.
    plain = config.model.rule if rules[0] in build.ADAPTIVE else rules[0]
    coders = sorted({own.encoder for own in config.seen.values()})
    if spec.draws > 1 and not set(coders) & set(build.RANDOM_ENCODERS):
      raise ValueError(
        "draws must be 1 where nothing is random, as for the encoder "
        f"{', '.join(coders)}; got {spec.draws}"
      )
    request = attack_kinds.Request(
      source=source(rules),
      logits=models.classifier(
        network, variables, rule=build.rule(config, plain)
      ),
      norm=functools.partial(build.threat_of, norm),
      radii=radii,
      norm_name=norm,
      loss=spec.loss,
      steps=spec.steps,
      restarts=spec.restarts,
      draws=spec.draws,
      options=spec.options,
      stand_ins=tuple(stand_ins[run] for run in spec.options.get("runs", ())),
    )
    return attack_kinds.TABLE[spec.kind].make(request)

  if spec.mix == "worst_of":
    return attacks.worst_of([one((rule,)) for rule in attack.rules])
  return one(attack.rules)


class Cases(NamedTuple):
  """What an evaluation runs.

  Attributes:
    builders: by case, in their order.
    survivors: cases that meet only what the cases listed left correct.
    refused: by attack, why it cannot run under this budget or with so few
      classes.
  """

  builders: Mapping[str, Any]
  survivors: Mapping[str, Sequence[str]]
  refused: Mapping[str, str]


def cases(
  made: Grid,
  variables: Variables,
  wanted: Sequence[Cell],
  inputs: Inputs,
) -> Cases:
  """Returns every attack on every cell that its suite has it on.

  Args:
    made: from `grid`.
    variables: of the network under attack.
    wanted: the cells.
    inputs: of the network; only their shapes matter.

  Raises:
    UsageError: no attack can run.
  """
  builders: dict[str, Any] = {}
  survivors: dict[str, Sequence[str]] = {}
  refused = _refused(made, variables, wanted, inputs)
  if len(refused) == len(made.attacks):
    raise UsageError(f"a suite must have an attack that can run; got {refused}")
  for cell in wanted:
    before: list[str] = []
    for attack in on_cell(made.attacks, cell, wanted):
      if attack.name in refused:
        continue
      name = cell.case(attack.name)
      if attack.spec.meets == "survivors":
        survivors[name] = tuple(before)
      builders[name] = jax.tree_util.Partial(
        made.build[attack.name], variables, traced(cell.radii)
      )
      before.append(name)
  return Cases(builders, survivors, refused)


def _refused(
  made: Grid, variables: Variables, wanted: Sequence[Cell], inputs: Inputs
) -> dict[str, str]:
  """Returns by attack why it cannot run: no target, no budget, no classes."""
  refused: dict[str, str] = {}
  able: dict[str, Any] = {}
  for attack in made.attacks:
    if not any(on_cell([attack], cell, wanted) for cell in wanted):
      refused[attack.name] = (
        f"targets must be among {sorted({cell.target for cell in wanted})} "
        f"for these inputs; got {attack.spec.targets}"
      )
      continue
    build = jax.tree_util.Partial(
      made.build[attack.name], variables, traced(wanted[-1].radii)
    )
    try:
      build()  # asks its threat what it needs; nothing is run
    except ValueError as error:
      refused[attack.name] = str(error)
    else:
      able[attack.name] = build
  judge = jax.tree_util.Partial(made.classify, variables)
  return refused | evaluating.undefined(able, judge, inputs)


def on_cell(
  planned: Sequence[suites.Attack], cell: Cell, every: Sequence[Cell]
) -> list[suites.Attack]:
  """Returns the attacks that a suite has on one cell.

  Args:
    planned: all attacks.
    cell: the target and radius.
    every: all cells, which tell how many radii there are.

  Raises:
    UsageError: an attack names a radius that is not there.
  """
  count = 1 + max(each.level for each in every)

  def fits(attack: suites.Attack) -> bool:
    spec = attack.spec
    for level in spec.levels:
      if not -count <= level < count:
        raise UsageError(
          f"levels of {spec.name!r} must lie in {-count}..{count - 1} for "
          f"{count} radii; got {level}"
        )
    levels = {level % count for level in spec.levels} or {cell.level}
    return cell.target in (spec.targets or (cell.target,)) and (
      cell.level in levels
    )

  return [attack for attack in planned if fits(attack)]


def traced(radii: Mapping[str, float]) -> Radii:
  """Radii as arrays, so that no value of theirs is compiled in."""
  return {name: jnp.asarray(value) for name, value in radii.items()}
