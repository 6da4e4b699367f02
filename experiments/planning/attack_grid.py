"""The plan of an evaluation, and the network as its attacks see it.

All networks of one architecture and all radii share one compilation per attack
and rule: a modality that is not attacked has radius 0.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.building import build, networks
from experiments.command.exits import UsageError
from experiments.configuration.schema import Config
from experiments.planning import suites
from snnjax.attacks import Oracle, SuiteError, Threat
from snnjax.evaluation import Plan, View, many_rules, planning
from snnjax.evaluation.planning import Cell
from snnjax.evaluation.steps import Builder
from snnjax.interfaces import (
  Inputs,
  Key,
  LogitsFn,
  Network,
  Variables,
)
from snnjax.losses import LogitsLoss

LARGE = "large epsilon"  # the target that no sound attack fails on
LARGE_RADIUS = 0.5
_NOBODY: Mapping[str, LogitsFn] = MappingProxyType({})
_Logits = Callable[[Variables, Key, Inputs], jax.Array]


def plan(config: Config) -> Plan:
  """Returns all that an evaluation is to attack, and what of it cannot run.

  Args:
    config: the whole configuration, its suite resolved.

  Raises:
    UsageError: an attack names a radius that is not there.
    ValueError: if the modalities' lists of radii differ in length.
  """
  grid = planning.cells(
    {
      norm: {name: own.epsilons.of(norm) for name, own in config.seen.items()}
      for norm in config.evaluation.norms
    }
  )
  attacks = suites.attacks_of(config)
  try:
    wanted = planning.plan(attacks, grid)
  except SuiteError as error:
    raise UsageError(str(error)) from None
  mixing = suites.depend_on_batch(config, attacks)
  return dataclasses.replace(wanted, mixing=mixing)


class Grid(NamedTuple):
  """What cases are built of; they compile once for all networks and radii.

  Attributes:
    norms: by name, ``radius -> threat``.
    views: ``variables -> the network under every rule of its suite``.
    classify: ``(variables, keys, inputs) -> logits``.
    stand_ins: other networks by their folder, for attacks that transfer.
  """

  norms: Mapping[str, Callable[[Any], Threat]]
  views: Callable[[Variables], Mapping[str, View]]
  classify: _Logits
  stand_ins: Mapping[str, LogitsFn]


def grid(
  config: Config,
  network: Network,
  wanted: Plan,
  stand_ins: Mapping[str, LogitsFn] = _NOBODY,
) -> Grid:
  """Returns what the cases of the networks of one architecture are built of.

  Args:
    config: the whole configuration, its suite resolved.
    network: the architecture.
    wanted: an evaluation of it; of others by this suite only radii differ.
    stand_ins: other networks by their folder, for attacks that transfer.

  Raises:
    ValueError: the configuration names what there is not.
  """
  own = networks.logits_under(network, build.rule(config, config.model.rule))
  return Grid(
    {
      name: build.chosen(build.THREATS, "norm", name)
      for name in config.evaluation.norms
    },
    _views(config, network, wanted, own),
    own,
    stand_ins,
  )


def traced(cell: Cell) -> dict[str, jax.Array]:
  """A cell's radii as arrays, so that no value of theirs is compiled in."""
  return {name: jnp.asarray(value) for name, value in cell.radii.items()}


class Cases(NamedTuple):
  """What an evaluation runs.

  Attributes:
    plan: its cases, and what cannot run under this budget or with so few
      classes.
    builders: by path of its case, in their order.
  """

  plan: Plan
  builders: Mapping[str, Builder]


def cases(
  wanted: Plan, made: Grid, variables: Variables, inputs: Inputs
) -> Cases:
  """Returns every attack of an evaluation that can run.

  Beside the suite there is, within linf, `LARGE_RADIUS` on everything, which a
  sound attack must not fail to use.

  Args:
    wanted: from `plan`.
    made: from `grid`.
    variables: of the network under attack.
    inputs: of the network; only their shapes matter.

  Raises:
    UsageError: no attack can run.
  """
  views = made.views(variables)
  judge = jax.tree_util.Partial(made.classify, variables)
  given = (views, made.norms, inputs)
  try:
    able = many_rules.keep_runnable(wanted, *given, judge, made.stand_ins)
  except SuiteError as error:
    raise UsageError(
      f"a suite must have an attack that can run; got {error.got}"
    ) from None
  if "linf" in able.norms:
    everything = dict.fromkeys(able.strongest.radii, LARGE_RADIUS)
    able = able.with_cell(Cell("linf", LARGE, 0, everything))
  return Cases(able, many_rules.builders(able, *given, made.stand_ins))


def _views(
  config: Config, network: Network, wanted: Plan, own: _Logits
) -> Callable[[Variables], dict[str, View]]:
  """The network under every rule of a plan, each one function for all."""
  rules = dict.fromkeys(rule for each in wanted.attacks for rule in each.rules)
  encoders = {own.encoder for own in config.seen.values()}
  random = bool(encoders & set(networks.RANDOM_ENCODERS))
  plain = {
    name: own
    if name == config.model.rule
    else networks.logits_under(network, build.rule(config, name))
    for name in rules
    if name not in build.ADAPTIVE
  }
  adaptive = {
    name: _adapting(config, network, name)
    for name in rules
    if name in build.ADAPTIVE
  }

  def views(variables: Variables) -> dict[str, View]:
    def of(function: Callable[..., Any]) -> jax.tree_util.Partial:
      return jax.tree_util.Partial(function, variables)

    return {
      **{name: View(of(fn), random=random) for name, fn in plain.items()},
      # What adapts gives no logits of its own; nor does its forward differ.
      **{
        name: View(of(own), of(oracle), random)
        for name, oracle in adaptive.items()
      },
    }

  return views


def _adapting(
  config: Config, network: Network, name: str
) -> Callable[[Variables, LogitsLoss, int], Oracle]:
  def oracle(variables: Variables, loss: LogitsLoss, draws: int) -> Oracle:
    return build.adaptive_oracle(network, variables, name, loss, draws)

  return oracle
