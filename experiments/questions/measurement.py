"""Measures one network for the questions: attacks, then gradients there.

Every measurement returns arrays by name, rows of examples first. Names are
paths, ``gradient/margin/linf/bptt_atan/joint/gini``; see `GRADIENT`, `ATTACK`
and the functions below.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.building import build, networks
from experiments.building.shared import Shared
from experiments.command.progress import Progress
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.questions.study import CLEAN, JOINT, Member, Protocol, Step
from snnjax import attacks, evaluation, losses, sparsity, vulnerability
from snnjax import input_gradients as gradient_functions
from snnjax.attacks import Threat, perceptual_distance
from snnjax.attacks.gradient.slide import sparse_steps
from snnjax.attacks.rule_suites import SuiteAttack, with_defaults
from snnjax.attacks.steppers import scale_steps, steepest
from snnjax.evaluation import Plan, View, many_rules, planning
from snnjax.evaluation.gradients import in_microbatches
from snnjax.evaluation.planning import Case
from snnjax.evaluation.records import Chunk, Outcome
from snnjax.evaluation.steps import Builder
from snnjax.interfaces import (
  Array,
  Batch,
  Forward,
  Inputs,
  Key,
  Labels,
  LogitsFn,
  Network,
  Variables,
)
from snnjax.prng import split

Arrays = dict[str, np.ndarray]
NORMS: Mapping[str, Callable[[Any], Threat]] = {
  "linf": attacks.linf,
  "l2": attacks.l2,
  "l1": attacks.l1,
}
CONFIDENCES = {
  "margin": losses.against_rival(losses.margin),
  "cross_entropy": losses.cross_entropy,
}
# Kept of every gradient. l2 and Hoyer's measure follow from these; see
# `outcomes.metrics`.
KEPT = ("participation_ratio", "gini", "l0_relative", "log10_l1", "log10_linf")
# The paths of what is measured of a gradient and of an attack.
GRADIENT = "gradient/{confidence}/{point}/{rule}/{part}/{metric}"
ATTACK = "attack/{norm}/{level}/{field}"
# Attacks beside the chain, on all examples, for the claims about them.
SINGLE = ("fgsm", "pgd10")


class Parts(NamedTuple):
  """What the networks of one architecture share, compilations included.

  Attributes:
    logits: by rule, ``(variables, key, inputs) -> [B, C]``.
    forward: ``(variables, key, inputs) -> Forward`` under the training rule.
    gradients: ``(logits, keys, inputs, labels) -> metrics``; see `_gradients`.
    along: by norm, the recorded attack; see `_along`.
    vulnerability: by norm; see `_vulnerability`.
  """

  logits: Mapping[str, Callable[[Variables, Key, Inputs], Array]]
  forward: Callable[[Variables, Key, Inputs], Forward]
  gradients: Callable[..., Any]
  along: Mapping[str, Callable[..., Any]]
  vulnerability: Mapping[str, Callable[..., Any]]


def parts(
  config: Config, network: Network, protocol: Protocol, shared: Shared
) -> Parts:
  """Returns the shared parts for networks of one architecture.

  Args:
    config: of one of them.
    network: the architecture.
    protocol: how they are measured.
    shared: what other runs of this process built.
  """
  key = [settings.part(config, schema.NETWORK), config.data.name]
  return shared.get("questions", key, lambda: _parts(config, network, protocol))


def _parts(config: Config, network: Network, protocol: Protocol) -> Parts:
  own = config.model.rule
  rules = [own, *protocol.rules]
  for chain in protocol.chains.values():
    rules += [step.rule for step in chain]
  logits = {
    rule: networks.logits_under(network, build.rule(config, rule))
    for rule in dict.fromkeys(rules)
  }

  @jax.jit
  def forward(variables: Variables, key: Key, inputs: Inputs) -> Forward:
    rule = build.rule(config, own)
    return network.apply(variables, inputs, rule=rule, key=key)

  return Parts(
    logits,
    forward,
    _gradients(),
    {norm: _along(norm, protocol) for norm in NORMS},
    {norm: _vulnerability(norm, protocol) for norm in NORMS},
  )


class Subject(NamedTuple):
  """A network under measurement.

  Attributes:
    member: who it is.
    protocol: how it is measured.
    radii: by norm, rising, of every modality.
    parts: from `parts`.
    variables: its weights and statistics.
    batch: the test examples.
    progress: told of every microbatch.
  """

  member: Member
  protocol: Protocol
  radii: Mapping[str, Sequence[float]]
  parts: Parts
  variables: Variables
  batch: Batch
  progress: Progress

  def bound(self, rule: str = "") -> jax.tree_util.Partial:
    """Returns its logits function under a rule, by default its own."""
    name = rule or self.member.config.model.rule
    return jax.tree_util.Partial(self.parts.logits[name], self.variables)

  def key(self, purpose: str) -> Key:
    """Returns the key of one purpose, equal for all arms of a seed."""
    return build.key(self.member.config, f"questions: {purpose}")

  def ball(self, norm: str, level: int, share: float = 1.0) -> dict[str, Array]:
    """Returns the radius of every modality, as arrays."""
    radius = share * self.radii[norm][level]
    return {name: jnp.asarray(radius) for name in self.member.modalities}

  def first(self, count: int) -> Batch:
    """Returns the first examples."""
    batch: Batch = jax.tree.map(lambda leaf: leaf[:count], self.batch)
    return batch


def gradients(subject: Subject) -> Arrays:
  """Measures the gradients of a network, clean and under attack.

  Returns:
    By path, rows of examples first:

    - ``label``, ``correct``, ``firing_rate`` (spikes per neuron and step);
    - ``attack/NORM/LEVEL/success``, ``/rank`` of the attack in the chain that
      broke the example (-1: none), ``/distance/MODALITY``, the l2 length of
      the change that the worst attack made, ``/visibility/image``, its
      perceptual distance, and ``/margin``, at the adversarial input;
    - ``margin`` of the clean input;
    - ``single/fgsm``, ``single/pgd10``: whether these break the example, under
      linf at the same radius and the training rule; ``random/linf/LEVEL``;
    - ``gradient/CONFIDENCE/POINT/RULE/PART/METRIC``, with the metrics of
      `KEPT`; ``log10`` of a zero gradient is -inf and its ratios are NaN;
    - ``along/NORM/PART/METRIC`` [steps + 1]: means over the examples that are
      right when clean, with ``along/NORM/PART/zeros`` and ``/standing``
      [steps + 1], the shares of zero gradients and of examples still right;
    - ``vulnerability/NORM/SCALE/KIND`` on the first examples, KIND ``random``,
      ``adversarial`` (mean squared changes of the margin, measured),
      ``first_random``, ``first_adversarial`` (of first order), and
      ``lower``, ``upper``, between which the ratio must lie.
  """
  protocol, level = subject.protocol, subject.protocol.level
  outcome = attack(subject, dict.fromkeys(NORMS, (level,)), _beside(subject))
  result = dict(outcome.arrays)
  points = {CLEAN: subject.batch.inputs, **outcome.points}
  for norm, moved in outcome.points.items():
    result |= _visible(subject, norm, moved)
  result["firing_rate"] = _firing_rate(subject)
  done, total = 0, len(points) * len(protocol.rules)
  for point, inputs in points.items():
    for rule in protocol.rules:
      subject.progress(done, total, "measure gradients", compiles=done == 0)
      measured = in_microbatches(
        subject.parts.gradients,
        subject.bound(rule),
        inputs,
        subject.batch.labels,
        key=subject.key("gradients"),
        microbatch=protocol.microbatch,
      )
      for confidence, by_part in measured.items():
        for part, kept in by_part.items():
          for metric, values in kept.items():
            path = GRADIENT.format(
              confidence=confidence,
              point=point,
              rule=rule,
              part=part,
              metric=metric,
            )
            result[path] = values
      done += 1
  subject.progress(done, total, "measure gradients")
  for norm in NORMS:
    result |= _measure_along(subject, norm, result["correct"])
    for scale in protocol.scales:
      result |= _measure_vulnerability(subject, norm, scale)
  return {name: _small(name, array) for name, array in result.items()}


class Attacked(NamedTuple):
  """What a set of attacks did.

  Attributes:
    arrays: by path.
    points: by norm, the worst inputs at its last radius.
  """

  arrays: Arrays
  points: Mapping[str, Inputs]


def attack(
  subject: Subject,
  levels: Mapping[str, Sequence[int]],
  beside: Mapping[str, tuple[Case, str]] = MappingProxyType({}),
) -> Attacked:
  """Attacks by the chain of every norm, at some of its radii.

  The first attack of a chain meets all examples, the others the survivors of
  those before them, also of those at smaller radii, whose balls lie in theirs.

  Args:
    subject: the network.
    levels: by norm, rising positions of radii.
    beside: more cases, by path, with the norm of each; they meet all examples.

  Raises:
    UnjudgedError: an output could not be judged: it is no defence.
  """
  batch = subject.batch
  chains: dict[str, dict[str, tuple[int, int]]] = {norm: {} for norm in levels}
  wanted: dict[str, tuple[Case, str]] = {}
  survivors: dict[str, tuple[str, ...]] = {}
  for norm, positions in levels.items():
    for level in positions:
      for rank, step in enumerate(subject.protocol.chains[norm]):
        case = _case(subject, step, norm, level)
        path = f"{norm}/{case.path}"
        if chains[norm]:
          survivors[path] = tuple(chains[norm])
        chains[norm][path] = level, rank
        wanted[path] = case, norm
  wanted |= beside
  builders = _builders(subject, wanted)
  chunks = list(
    evaluation.stream(
      builders,
      subject.bound(),
      batch.inputs,
      batch.labels,
      key=subject.key("attacks"),
      microbatch=subject.protocol.microbatch,
      survivors=survivors,
      progress=_tell_stages(subject, list(builders)),
    )
  )
  labels = np.asarray(batch.labels)
  ids = np.arange(len(labels))
  whole = evaluation.collect(ids, labels, list(builders), chunks, survivors)
  evaluation.refuse_outside(whole)
  arrays: Arrays = {"label": labels, "correct": whole.clean.correct}
  for path in beside:
    arrays[path] = whole.attacks[path].success
  points = {}
  for norm, chain in chains.items():
    worst = _Worst(batch.inputs, labels)
    for level in levels[norm]:
      for chunk in chunks:
        if chain.get(chunk.stage, (-1, -1))[0] == level:
          worst.add(chunk, chain[chunk.stage][1])
      fields = {"success": worst.fallen, "rank": worst.rank}
      for field, values in {**fields, "margin": worst.margin}.items():
        arrays[ATTACK.format(norm=norm, level=level, field=field)] = (
          values.copy()
        )
    points[norm] = worst.inputs
  return Attacked(arrays, points)


class _Worst:
  """The worst point of every example, over the attacks of a chain.

  A success beats a failure; among equals the larger loss is worse.
  """

  def __init__(self, inputs: Inputs, labels: np.ndarray) -> None:
    """Starts at the clean inputs, which nothing has broken."""
    count = len(labels)
    self.inputs = jax.tree.map(np.array, inputs)
    self.fallen = np.zeros(count, bool)
    self.rank = np.full(count, -1)
    self.margin = np.full(count, np.nan)
    self._loss = np.full(count, -np.inf)
    self._labels = labels

  def add(self, chunk: Chunk, rank: int) -> None:
    """Looks at what one attack did to some examples."""
    rows, outcome = chunk.indices, chunk.rows
    assert isinstance(outcome, Outcome)
    assert chunk.logits is not None
    success = outcome.success
    louder = outcome.loss > self._loss[rows]
    fallen = self.fallen[rows]
    better = (success & ~fallen) | ((success == fallen) & louder)
    self.rank[rows[success & ~fallen]] = rank
    self.fallen[rows] |= success
    taken = rows[better]
    self._loss[taken] = outcome.loss[better]
    logits, labels = chunk.logits[better], self._labels[taken]
    own = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
    others = logits.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, 1)
    self.margin[taken] = own - others.max(1, initial=-np.inf)
    for leaf, moved in zip(
      jax.tree.leaves(self.inputs), jax.tree.leaves(chunk.inputs), strict=True
    ):
      leaf[taken] = moved[better]


def _case(subject: Subject, step: Step, norm: str, level: int) -> Case:
  """One attack of a chain at one radius, in all modalities."""
  wanted = SuiteAttack(step.kind, (step.rule,), step.name, loss=step.loss)
  attack = with_defaults(wanted._replace(steps=step.steps))
  return _at(subject, attack, norm, level)


def _at(subject: Subject, attack: SuiteAttack, norm: str, level: int) -> Case:
  radius = float(subject.radii[norm][level])
  radii = dict.fromkeys(subject.member.modalities, radius)
  target = planning.EVERYTHING if len(radii) > 1 else next(iter(radii))
  return Case(target, level, radii, attack)


def _beside(subject: Subject) -> dict[str, tuple[Case, str]]:
  """The attacks that only the claims ask for: weak ones, and chance.

  Weak: one step, or ten, under the training rule alone. Chance: uniform noise
  in the ball at the radius of the measurement and at the largest one.
  """
  own, level = subject.member.config.model.rule, subject.protocol.level
  weak = {
    "fgsm": SuiteAttack("fgsm", (own,), "fgsm"),
    "pgd10": SuiteAttack("pgd", (own,), "pgd10", steps=10),
  }
  cases = {
    f"single/{name}": (
      _at(subject, with_defaults(attack), "linf", level),
      "linf",
    )
    for name, attack in weak.items()
  }
  chance = with_defaults(
    SuiteAttack("random", (own,)),
    random_draws=subject.protocol.random_draws,
  )
  for position in sorted({level, len(subject.radii["linf"]) - 1}):
    case = _at(subject, chance, "linf", position)
    cases[f"random/linf/{position}"] = (case, "linf")
  return cases


def _builders(
  subject: Subject, wanted: Mapping[str, tuple[Case, str]]
) -> dict[str, Builder]:
  """The attacks as `evaluation.stream` takes them, by path."""
  views = {
    rule: View(subject.bound(rule), random=False)
    for rule in subject.parts.logits
  }
  result = {}
  for path, (case, norm) in wanted.items():
    plan = Plan((case.attack,), (case.cell,), (case,), {})
    threat = NORMS[norm]
    built = many_rules.builders(plan, views, threat, subject.batch.inputs, {})
    (result[path],) = built.values()
  return result


def _tell_stages(
  subject: Subject, stages: Sequence[str]
) -> Callable[[int, int, str], None]:
  """Returns the progress callback of a stream, counted over its stages."""
  places = {name: place for place, name in enumerate((CLEAN, *stages))}

  def tell(done: int, total: int, stage: str) -> None:
    share = done / total if total else 1.0
    subject.progress(
      round(100 * (places[stage] + share)),
      100 * len(places),
      "attack examples",
      stage,
      compiles=done == 0,
    )

  return tell


def _visible(subject: Subject, norm: str, moved: Inputs) -> Arrays:
  """How far the worst attack went, and how visible that is."""
  result: Arrays = {}
  level = subject.protocol.level
  clean = build.by_modality(subject.batch.inputs)
  for name, candidate in build.by_modality(moved).items():
    change = np.asarray(candidate) - np.asarray(clean[name])
    length = np.sqrt((change.reshape(len(change), -1) ** 2).sum(1))
    path = ATTACK.format(norm=norm, level=level, field=f"distance/{name}")
    result[path] = length
    if name == "image":
      path = ATTACK.format(norm=norm, level=level, field="visibility/image")
      result[path] = np.asarray(
        perceptual_distance(jnp.asarray(candidate), jnp.asarray(clean[name]))
      )
  return result


def _firing_rate(subject: Subject) -> np.ndarray:
  """Spikes per neuron and step of every clean example, [N]."""

  def rate(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> Array:
    del logits
    traces = subject.parts.forward(subject.variables, keys, inputs).traces
    rows = [
      jnp.moveaxis(trace.spikes, 1, 0).reshape(len(labels), -1)
      for trace in traces.values()
    ]
    return jnp.mean(jnp.concatenate(rows, 1), 1)

  rates: Any = in_microbatches(
    rate,
    subject.bound(),
    subject.batch.inputs,
    subject.batch.labels,
    key=subject.key("rates"),
    microbatch=subject.protocol.microbatch,
  )
  return np.asarray(rates)


def _by_part(tree: Inputs) -> dict[str, Array]:
  """The gradients of every modality, and of several as one vector."""
  own = dict(build.by_modality(tree))
  if len(own) > 1:
    rows = [leaf.reshape(leaf.shape[0], -1) for leaf in own.values()]
    own[JOINT] = jnp.concatenate(rows, 1)
  return own


def _kept(gradients: Array) -> dict[str, Array]:
  """The metrics of `KEPT` of one part, each [B]."""
  metrics = sparsity.measure(gradients)
  size = np.prod(gradients.shape[1:])
  return {
    "participation_ratio": metrics.participation_ratio,
    "gini": metrics.gini,
    # Nan where the gradient is zero, as the other ratios.
    "l0_relative": jnp.where(
      metrics.is_zero, jnp.nan, metrics.l0_relative / size
    ),
    "log10_l1": jnp.log10(metrics.l1),
    "log10_linf": jnp.log10(metrics.linf),
  }


def _gradients() -> Callable[..., Any]:
  """Returns the measurement of all confidences at one point."""

  @jax.jit
  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> dict[str, dict[str, dict[str, Array]]]:
    result = {}
    for name, confidence in CONFIDENCES.items():
      function = losses.composed(logits, confidence)
      # Statistics are frozen: one backward pass gives every example's own.
      pulled = gradient_functions.summed(function)(
        jax.random.clone(keys), inputs, labels
      )
      result[name] = {
        part: _kept(leaf) for part, leaf in _by_part(pulled).items()
      }
    return result

  return measure


def _along(norm: str, protocol: Protocol) -> Callable[..., Any]:
  """Returns the chain's first attack, recorded at every step."""

  @jax.jit
  def measure(
    radii: Mapping[str, Array],
    logits: LogitsFn,
    keys: Key,
    inputs: Inputs,
    labels: Labels,
  ) -> Any:
    threat = build.threat_with(NORMS[norm], radii)
    steps = protocol.chains[norm][0].steps
    size = jax.tree.map(lambda radius: 2.5 * radius / steps, threat.radius)
    ascended = sparse_steps(threat, 0.01) if norm == "l1" else threat
    attack = attacks.ascend_recorded(
      attacks.white_box(losses.scored(logits, losses.cross_entropy)),
      optax.chain(steepest(ascended), scale_steps(size)),
      ascended,
      steps=steps,
      start=threat.sample,
      record=lambda _, probe: (
        {part: _kept(leaf) for part, leaf in _by_part(probe.gradient).items()},
        probe.correct,
      ),
    )
    _, records = attack(keys, inputs, labels)
    # Rows of examples first.
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), records)

  return measure


def _measure_along(subject: Subject, norm: str, correct: np.ndarray) -> Arrays:
  """The metrics at every step, over the examples that are right when clean."""
  protocol = subject.protocol
  few = subject.first(protocol.along)
  kept, standing = in_microbatches(
    functools.partial(
      subject.parts.along[norm], subject.ball(norm, protocol.level)
    ),
    subject.bound(),
    few.inputs,
    few.labels,
    key=subject.key("along"),
    microbatch=min(protocol.microbatch, len(few.labels)),
  )
  own = correct[: len(few.labels)]
  result: Arrays = {f"along/{norm}/standing": standing[own].mean(0)}
  for part, metrics in kept.items():
    zero = np.isnan(metrics["participation_ratio"][own])
    result[f"along/{norm}/{part}/zeros"] = zero.mean(0)
    for metric, values in metrics.items():
      counted = np.where(zero, np.nan, values[own])
      # All examples of a step may have lost their gradient: that is nan.
      total = np.nansum(counted, 0)
      with np.errstate(invalid="ignore"):
        result[f"along/{norm}/{part}/{metric}"] = total / (~zero).sum(0)
  return result


def _vulnerability(norm: str, protocol: Protocol) -> Callable[..., Any]:
  """Returns the measured changes of the margin, beside those of first order."""
  order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]

  @jax.jit
  def measure(
    radii: Mapping[str, Array],
    logits: LogitsFn,
    keys: Key,
    inputs: Inputs,
    labels: Labels,
  ) -> dict[str, Array]:
    (name,) = radii
    radius = radii[name]
    threat = build.threat_with(NORMS[norm], radii)
    margin = losses.composed(logits, CONFIDENCES["margin"])
    chance_key, attack_key, key = split(keys, 3)
    fall = losses.margin_loss
    attack = (attacks.slide if norm == "l1" else attacks.pgd)(
      logits,
      threat,
      loss=fall,
      steps=protocol.chains[norm][0].steps,
      random_start=False,
      keep=attacks.best_loss,
    )
    chance = vulnerability.random_vulnerability(
      margin, threat.sample, draws=max(protocol.random_draws, 2)
    )(chance_key, inputs, labels)
    worst = vulnerability.adversarial_vulnerability(margin, attack)(
      attack_key, inputs, labels
    )
    slope = gradient_functions.summed(margin)(key, inputs, labels)[name]
    first = vulnerability.first_order(slope, order)
    return {
      "random": chance.mean,
      "adversarial": worst,
      "first_random": first.random * radius**2,
      "first_adversarial": first.adversarial * radius**2,
      "lower": first.lower,
      "upper": first.upper,
    }

  return measure


def _measure_vulnerability(subject: Subject, norm: str, scale: float) -> Arrays:
  """Both vulnerabilities at a share of the radius; of one modality alone.

  The theory is about one ball: a network of several modalities has several.
  """
  if len(subject.member.modalities) > 1:
    return {}
  protocol = subject.protocol
  few = subject.first(protocol.along)
  ball = subject.ball(norm, protocol.level, scale)
  measured = in_microbatches(
    functools.partial(subject.parts.vulnerability[norm], ball),
    subject.bound(),
    few.inputs,
    few.labels,
    key=subject.key("vulnerability"),
    microbatch=min(protocol.microbatch, len(few.labels)),
  )
  return {
    f"vulnerability/{norm}/{scale:g}/{kind}": values
    for kind, values in measured.items()
  }


# What would overflow or lose too many digits in half precision.
_SINGLE = ("vulnerability/",)


def _small(name: str, array: np.ndarray) -> np.ndarray:
  """An array in the smallest type that keeps what is read of it."""
  if array.dtype == bool:
    return array
  if np.issubdtype(array.dtype, np.integer):
    return array.astype(np.int8)
  wide = any(name.startswith(each) for each in _SINGLE)
  return array.astype(np.float32 if wide else np.float16)
