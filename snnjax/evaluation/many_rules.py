"""A suite of attacks under several backward rules, on one network.

A surrogate gradient alone overestimates robustness: the worst case per example
is over all rules, attacks and radii of the suite.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, losses
from snnjax.arguments import describe, with_key
from snnjax.attacks import Oracle, Threat, kinds
from snnjax.attacks.kinds import NORMS, Radii, Request
from snnjax.attacks.rule_suites import (
  SuiteAttack,
  expand_rules,
  with_defaults,
)
from snnjax.attacks.threats.threat import orders_of
from snnjax.evaluation import planning
from snnjax.evaluation.autoattack_suite import find_undefined
from snnjax.evaluation.microbatches import Progress, evaluate
from snnjax.evaluation.planning import WHOLE, Cell, Plan
from snnjax.evaluation.records import Chunk, Evaluation, Trial
from snnjax.evaluation.steps import Builder, partial
from snnjax.interfaces import AnyLogitsFn, Attack, Inputs, Key, Labels, LogitsFn

Norm = Callable[[Any], Threat]  # of a radius, such as attacks.linf
# The smallest first; of several modalities by name.
_Levels = Sequence[float] | Mapping[str, Sequence[float]]


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["logits", "oracle"],
  meta_fields=["random"],
)
@dataclasses.dataclass(frozen=True)
class View:
  """A network under one backward rule, as attacks see it.

  Functions that are a `jax.tree_util.Partial` of the network's variables keep
  these out of the compiled code: networks of one architecture share it.

  Attributes:
    logits: ``(key, inputs) -> [B, C]``, differentiated by the rule.
    oracle: ``(loss on logits, draws) -> oracle`` of a rule that adapts to the
      attack; None ascends the gradient of `logits`.
    random: whether the logits are, so that a mean over draws says something.
  """

  logits: LogitsFn
  oracle: Callable[[losses.LogitsLoss, int], Oracle] | None = None
  random: bool = True


class SuiteResult(NamedTuple):
  """The results of a suite on one network.

  Attributes:
    plan: which attack met which examples at which radius.
    evaluation: every example under every attack, by the path of its case.
  """

  plan: Plan
  evaluation: Evaluation

  def within(self, cell: Cell) -> Evaluation:
    """Returns the evaluation with all attacks in the ball of one cell.

    `summarize` of it is the worst case at that radius.

    Args:
      cell: one of ``plan.cells``.
    """
    return self.plan.within(self.evaluation, cell)

  def union(self, cell: Cell) -> Evaluation:
    """Returns the evaluation with all attacks in the balls of every norm.

    `summarize` of it is the accuracy under all norms together, each example
    under the worst of them, at the target and level of a cell.

    Args:
      cell: one of ``plan.cells``.
    """
    return self.plan.union(self.evaluation, cell)


def evaluate_suite(
  suite: Sequence[SuiteAttack],
  views: Mapping[str, AnyLogitsFn | View],
  norms: Norm | Mapping[str, Norm],
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  radii: _Levels | Mapping[str, _Levels],
  stand_ins: Mapping[str, LogitsFn] | None = None,
  microbatch: int = 64,
  finished: Iterable[Chunk] = (),
  mesh: jax.sharding.Mesh | None = None,
  progress: Progress | None = None,
  indices: np.ndarray | None = None,
) -> SuiteResult:
  """Attacks a network under every rule of a suite, at every radius.

  Under several norms, each attack runs in all those that it is for and has a
  form for. Attacks that cannot run under this budget, or with so few classes,
  are left out: ``plan.refused`` says why.

  Args:
    suite: such as `attacks.standard_suite`.
    views: by rule that the suite names, the network's logits under it, of
      (key, inputs) or of inputs alone, or a `View`; the first is the judge: a
      rule changes no logits.
    norms: ``radius -> threat``, such as `attacks.linf`; or several by name,
      ``{"linf": attacks.linf, "l0": attacks.l0}``.
    inputs: [N, ...], or a mapping of such arrays by modality.
    labels: [N] integer classes.
    key: a scalar key.
    radii: the smallest first; of a mapping of inputs as many per modality,
      each of which is attacked alone and all together. Of several norms such
      radii by the norm's name, as many for each.
    stand_ins: other networks by name, for attacks that transfer.
    microbatch: as in `evaluate`, like all that follow.
    finished: chunks of an interrupted run; see `saving`.
    mesh: of devices that compute a microbatch each.
    progress: called after each chunk.
    indices: [N] unique ids.

  Raises:
    SuiteError: a value of the suite is not allowed, or nothing of it can run.
    ValueError: a view is no such function, the suite names a rule without a
      view, radii and inputs are of different modalities, or inputs lie outside
      the box.
  """
  network = {name: _view(name, view) for name, view in views.items()}
  adaptive = [n for n, view in network.items() if view.oracle is not None]
  explicit = [with_defaults(attack, adaptive=adaptive) for attack in suite]
  by_norm, levels = _by_norm(norms, radii, inputs)
  grid = planning.cells(levels)
  for cell in {cell.norm: cell for cell in grid}.values():  # one of each norm
    attacks.check_inputs(threat_of(by_norm[cell.norm], cell, inputs), inputs)
  complete_plan = planning.plan(expand_rules(explicit), grid)
  judge = next(iter(network.values())).logits
  plan = keep_runnable(
    complete_plan, network, by_norm, inputs, judge, stand_ins or {}
  )
  evaluation = evaluate(
    builders(plan, network, by_norm, inputs, stand_ins or {}),
    judge,
    inputs,
    labels,
    key=key,
    indices=indices,
    microbatch=microbatch,
    survivors=plan.survivors,
    finished=finished,
    mesh=mesh,
    progress=progress,
  )
  return SuiteResult(plan, evaluation._replace(skipped=plan.refused))


def builders(
  plan: Plan,
  views: Mapping[str, View],
  norms: Mapping[str, Norm],
  inputs: Inputs,
  stand_ins: Mapping[str, LogitsFn],
) -> dict[str, Builder]:
  """Returns the cases of a plan as `evaluate` takes them, by path.

  All radii of a norm share one program per attack and rule, so do all networks
  whose views are `jax.tree_util.Partial`s of the same functions: a modality
  that is not attacked has radius 0.

  Args:
    plan: of attacks that can run; see `keep_runnable`.
    views: by rule.
    norms: by name, ``radius -> threat``.
    inputs: [N, ...] or a mapping; only their kind matters.
    stand_ins: other networks by name, for attacks that transfer.

  Raises:
    ValueError: the plan names a rule without a view.
  """
  return {
    case.path: _builder(
      case.attack,
      views,
      norms[case.cell.norm],
      traced_radii(case.cell, inputs),
      stand_ins,
    )
    for case in plan.cases
  }


def keep_runnable(
  plan: Plan,
  views: Mapping[str, View],
  norms: Mapping[str, Norm],
  inputs: Inputs,
  judge: LogitsFn,
  stand_ins: Mapping[str, LogitsFn],
) -> Plan:
  """Returns a plan less the attacks that cannot run; nothing is run.

  Args:
    plan: all that is wanted.
    views: by rule.
    norms: by name, ``radius -> threat``.
    inputs: [N, ...] or a mapping; only their shapes matter.
    judge: ``(key, inputs) -> [B, C]``, which tells the number of classes.
    stand_ins: other networks by name.

  Raises:
    SuiteError: none can run.
    ValueError: the plan names a rule without a view.
  """
  refused: dict[tuple[str, str], str] = {}
  formless: dict[tuple[str, str], str] = {}
  able: dict[str, Builder] = {}
  for norm in plan.norms:
    # One cell stands for all: whether an attack can run depends on the form of
    # the budget, not on its size.
    radii = traced_radii(plan.strongest_in(norm), inputs)
    there = {c.attack.name: c.attack for c in plan.cases if c.cell.norm == norm}
    for name, attack in there.items():
      build = _builder(attack, views, norms[norm], radii, stand_ins)
      try:
        build()  # asks its threat what it needs
      except kinds.NormError as error:
        formless[norm, name] = str(error)
      except ValueError as error:
        refused[norm, name] = str(error)
      else:
        able[name] = build
  # Whether a loss has enough classes is the same under every norm.
  for name, reason in find_undefined(able, judge, inputs).items():
    refused |= {(norm, name): reason for norm in plan.norms}
  return plan.without(refused, formless)


def threat_of(norm: Norm, cell: Cell, inputs: Inputs) -> Threat:
  """Returns the budget of a cell: one norm ball, or one per modality."""
  return _threat(norm, traced_radii(cell, inputs))


def traced_radii(cell: Cell, inputs: Inputs) -> Radii:
  """Returns a cell's radii as arrays, so that no value is compiled in.

  Args:
    cell: the target at its radius.
    inputs: one array has one radius, a mapping one per modality.
  """
  radii = {name: jnp.asarray(value) for name, value in cell.radii.items()}
  if isinstance(inputs, Mapping):
    return radii
  (alone,) = radii.values()
  return alone


@dataclasses.dataclass(frozen=True)
class _Build:
  """Makes one attack from the arrays of a network and the radii.

  Two that are equal share one compilation: they hold the network's functions,
  but none of its arrays.

  Attributes:
    attack: of the suite.
    norm: ``radius -> threat``.
    structure: of (views by rule, stand-ins by name).
    places: of each of its leaves, among the arrays.
  """

  attack: SuiteAttack
  norm: Norm
  structure: Any
  places: tuple[int, ...]

  def __hash__(self) -> int:
    # The attack's options are a mapping, which has no hash.
    return hash((self.attack.name, self.norm, self.structure, self.places))

  def __call__(self, arrays: Sequence[jax.Array], radii: Radii) -> Trial:
    leaves = [arrays[place] for place in self.places]
    views, stand_ins = jax.tree.unflatten(self.structure, leaves)
    threat = _threat(self.norm, radii)
    attack = _attack(self.attack, views, threat, radii, stand_ins)
    return Trial(attack, threat)


def _builder(
  attack: SuiteAttack,
  views: Mapping[str, View],
  norm: Norm,
  radii: Radii,
  stand_ins: Mapping[str, LogitsFn],
) -> Builder:
  for rule in attack.rules:
    if rule not in views:
      raise ValueError(
        f"views must have every rule of the suite; got {sorted(views)} without "
        f"{rule!r} of the attack {attack.name!r}"
      )
  runs = attack.options.get("runs", ())
  tree = (
    {rule: views[rule] for rule in attack.rules},
    {run: partial(stand_ins[run]) for run in runs},
  )
  leaves, structure = jax.tree.flatten(tree)
  # Every function of a network has the same variables among its leaves: each
  # array is passed once, and every leaf says which one it is.
  distinct = {id(leaf): leaf for leaf in leaves}
  order = {name: place for place, name in enumerate(distinct)}
  places = tuple(order[id(leaf)] for leaf in leaves)
  build = _Build(attack, norm, structure, places)
  return jax.tree_util.Partial(build, list(distinct.values()), radii)


def _attack(
  attack: SuiteAttack,
  views: Mapping[str, View],
  threat: Threat,
  radii: Radii,
  stand_ins: Mapping[str, LogitsFn],
) -> Attack:
  """Builds one attack from the table, a mixture of rules included."""
  options = dict(attack.options)

  def source(rules: Sequence[str]) -> Callable[[losses.LogitsLoss], Oracle]:
    def oracle(loss: losses.LogitsLoss) -> Oracle:
      oracles = [_oracle(views[rule], loss, attack.draws) for rule in rules]
      return oracles[0] if len(oracles) == 1 else attacks.gradient_mean(oracles)

    return oracle

  def build(rules: Sequence[str]) -> Attack:
    view = views[rules[0]]
    # Refused, not ignored: the report would name draws that were never made.
    if attack.draws > 1 and not view.random:
      raise ValueError(
        f"draws must be 1 where nothing is random; got {attack.draws}"
      )
    request = Request(
      source=source(rules),
      logits=view.logits,
      threat=threat,
      radii=radii,
      loss=attack.loss,
      steps=attack.steps or 0,
      restarts=attack.restarts,
      draws=attack.draws,
      options=options,
      stand_ins=tuple(stand_ins[run] for run in options.get("runs", ())),
    )
    return kinds.build(attack.kind, request)

  # A mixture either ascends the mean gradient of its rules, or runs each rule
  # and keeps the worst.
  if attack.mix == "worst_of":
    return attacks.worst_of([build((rule,)) for rule in attack.rules])
  return build(attack.rules)


def _oracle(view: View, loss: losses.LogitsLoss, draws: int) -> Oracle:
  if view.oracle is not None:
    return view.oracle(loss, draws)
  oracle = attacks.white_box(losses.scored(view.logits, loss))
  return attacks.eot(oracle, draws) if draws > 1 else oracle


def _threat(norm: Norm, radii: Radii) -> Threat:
  """One norm ball, or one for each of several modalities.

  One modality has no other beside which it must be weighed: its distances are
  in its own units, not in shares of its radius.
  """
  if not isinstance(radii, Mapping):
    return norm(radii)
  if len(radii) == 1:
    (radius,) = radii.values()
    return norm(radius)
  return attacks.per_modality({name: norm(r) for name, r in radii.items()})


def _view(name: str, view: AnyLogitsFn | View) -> View:
  """A view whose functions are pytrees."""
  if not isinstance(view, View):
    return View(partial(with_key(view, f"views[{name!r}]")))
  return dataclasses.replace(
    view,
    logits=partial(with_key(view.logits, f"views[{name!r}].logits")),
    oracle=None if view.oracle is None else partial(view.oracle),
  )


def _by_norm(
  norms: Norm | Mapping[str, Norm],
  radii: _Levels | Mapping[str, _Levels],
  inputs: Inputs,
) -> tuple[dict[str, Norm], dict[str, dict[str, Sequence[float]]]]:
  """Returns norms by name, and their radii by name and modality.

  Raises:
    ValueError: radii are of other norms or of other modalities.
  """

  def by_modality(levels: Any) -> dict[str, Sequence[float]]:
    by_name = dict(levels) if isinstance(levels, Mapping) else {WHOLE: levels}
    _check_modalities(by_name, inputs)
    return by_name

  if isinstance(norms, Mapping):
    if not norms or not isinstance(radii, Mapping) or set(radii) != set(norms):
      got = sorted(radii) if isinstance(radii, Mapping) else describe(radii)
      raise ValueError(
        "radii must be a mapping with those of every norm, of which there is "
        f"at least one; got {got} for {sorted(norms)}"
      )
    return dict(norms), {name: by_modality(radii[name]) for name in norms}
  levels = by_modality(radii)
  (cell, *_) = planning.cells({"": levels})
  # Attacks may be for some norms only: its order is the name of one.
  orders = orders_of(threat_of(norms, cell, inputs))
  name = NORMS[orders[0]] if len(orders) == 1 else ""
  return {name: norms}, {name: levels}


def _check_modalities(
  radii: Mapping[str, Sequence[float]], inputs: Inputs
) -> None:
  names = set(inputs) if isinstance(inputs, Mapping) else {WHOLE}
  if set(radii) != names:
    shape = "a mapping" if isinstance(inputs, Mapping) else describe(inputs)
    raise ValueError(
      "radii must be those of the inputs' modalities, a sequence where the "
      f"inputs are one array; got {sorted(radii)} for {shape} of "
      f"{sorted(names)}"
    )
