"""Measures one network for the questions: attacks, then gradients there.

`gradients` returns arrays by name; `summarized` makes of them what is kept for
good; `transfer` returns what the attacks of more norms and radii leave. The
axes of the larger ones:

    C  confidences, `CONFIDENCES`         P  `points`
    R  rules of the protocol              Q  parts: modalities, then `JOINT`
    M  metrics, `METRICS`                 N  examples
    V  norms of the protocol              S  steps of the recorded attack, + 1
    K  kinds of vulnerability, `KINDS`    A  first examples, L scales
"""

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from experiments.configuration.study import JOINT, Member, Protocol, Step
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
NORMS: Mapping[str, Callable[..., Threat]] = {
  "linf": attacks.linf,
  "l2": attacks.l2,
  "l1": attacks.l1,
  "l0": attacks.l0,
}
CONFIDENCES = {
  "margin": losses.against_rival(losses.margin),
  "cross_entropy": losses.cross_entropy,
}
# Of every gradient.
METRICS = (
  "log_participation_ratio",
  "gini",
  "l0_relative",
  "log_l1",
  "log_linf",
)
# These follow from them, and are summarized too.
DERIVED = ("hoyer", "log_l2")
CLEAN = "clean"
KINDS = (
  "random",
  "adversarial",
  "first_random",
  "first_adversarial",
  "lower",
  "upper",
)
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
  key = [settings.part(config, schema.MEASURED), config.data.name]
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
    {norm: _along(norm, protocol) for norm in protocol.norms},
    {norm: _vulnerability(norm, protocol) for norm in protocol.norms},
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
    By name:

    - ``label``, ``correct``, ``margin`` and ``firing_rate`` (spikes per neuron
      and step) of the clean inputs, [N];
    - of the worst attack of each chain, [N]: ``attack/NORM/LEVEL/success``;
      ``/rank``, the attack in the chain that broke the example (-1: none);
      ``/margin``; ``/distance/MODALITY``, the l2 length of its change; and
      ``/visibility/image``, the perceptual distance;
    - ``single/fgsm``, ``single/pgd10`` [N]: whether these break the example,
      under linf at the same radius and the training rule; so does
      ``random/linf/LEVEL``;
    - ``gradient`` [C, P, R, Q, M, N]; of a zero gradient NaN, logarithms are
      natural ones; ``part_sizes`` [Q], the dimensions d;
    - ``along`` [V, Q, M, S]: means over the first examples that are right when
      clean, ``along_zeros`` [V, Q, S] and ``along_standing`` [V, S], the shares
      of zero gradients and of examples still right;
    - ``vulnerability`` [V, L, K, A], of networks of one modality: measured mean
      squared changes of the margin, those of first order, and the bounds of
      their ratio.
  """
  protocol, level = subject.protocol, subject.protocol.level
  levels = dict.fromkeys(protocol.norms, (level,))
  outcome = attack(subject, levels, _beside(subject))
  result = dict(outcome.arrays)
  points = {CLEAN: subject.batch.inputs, **outcome.points}
  for norm, moved in outcome.points.items():
    result |= _visible(subject, norm, moved)
  result |= _clean_pass(subject)
  result["gradient"] = _gradient_table(subject, points)
  result["part_sizes"] = _part_sizes(subject)
  result |= _measure_along(subject, result["correct"])
  if len(subject.member.modalities) == 1:
    # The theory is about one ball; several modalities have several.
    result["vulnerability"] = np.stack(
      [
        [_measure_vulnerability(subject, norm, s) for s in protocol.scales]
        for norm in protocol.norms
      ]
    )
  return {name: _small(name, array) for name, array in result.items()}


def summarized(arrays: Mapping[str, np.ndarray]) -> Arrays:
  """Returns what of `gradients` is kept for good.

  Instead of all gradients those of the margin under the training rule, [P, Q,
  M, N], and of all of them, over the examples that are right when clean:

  - ``mean`` [C, P, R, Q, M and `DERIVED`], over those with a gradient there;
  - ``change``, of the same shape, the mean of each example's own difference
    from its clean gradient, over those with a gradient at both points;
  - ``zeros`` [C, P, R, Q], the share of zero gradients.

  Args:
    arrays: from `gradients`.
  """
  right = arrays["correct"]
  own = arrays["gradient"].astype(np.float64)[..., right]
  own = np.concatenate([own, _derived(own, arrays["part_sizes"])], -2)
  zero = np.isnan(own[..., 0, :])
  with warnings.catch_warnings():
    # No example may have a gradient left: that is nan, and counted.
    warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
    mean = np.nanmean(own, -1)
    change = np.nanmean(own - own[:, :1], -1)
  return {
    **{name: array for name, array in arrays.items() if name != "gradient"},
    "gradient": arrays["gradient"][0, :, 0],
    "mean": mean.astype(np.float32),
    "change": change.astype(np.float32),
    "zeros": zero.mean(-1).astype(np.float32),
  }


def _part_sizes(subject: Subject) -> np.ndarray:
  """The dimensions of all parts, [Q]."""
  inputs = build.by_modality(subject.batch.inputs)
  sizes = {name: int(np.prod(leaf.shape[1:])) for name, leaf in inputs.items()}
  sizes[JOINT] = sum(sizes.values())
  return np.asarray([sizes[p] for p in parts_of(inputs)], np.int32)


def _derived(own: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """`DERIVED` of metrics [..., Q, M, N], with the dimensions [Q]."""
  ratio = own[..., METRICS.index("log_participation_ratio"), :]
  size = sizes.astype(np.float64)[:, None]
  # ||g||_1 / ||g||_2 = sqrt(d PR).
  log_quotient = 0.5 * (np.log(size) + ratio)
  root = np.sqrt(size)
  hoyer = (root - np.exp(log_quotient)) / (root - 1)
  log_l2 = own[..., METRICS.index("log_l1"), :] - log_quotient
  return np.stack([hoyer, log_l2], -2)


def _gradient_table(
  subject: Subject, points: Mapping[str, Inputs]
) -> np.ndarray:
  """The metrics of all gradients, [C, P, R, Q, M, N]."""
  rules = subject.protocol.rules
  columns = []
  done, total = 0, len(points) * len(rules)
  for point in points_of(subject.protocol):
    for rule in rules:
      subject.progress(done, total, "measure gradients", compiles=done == 0)
      measured: Any = in_microbatches(
        subject.parts.gradients,
        subject.bound(rule),
        points[point],
        subject.batch.labels,
        key=build.key(subject.member.config, "questions: gradients"),
        microbatch=subject.protocol.microbatch,
      )
      columns.append(measured)  # [N, C, Q, M]
      done += 1
  subject.progress(done, total, "measure gradients")
  stacked = np.stack(columns).reshape(
    len(points), len(rules), *columns[0].shape
  )
  return np.moveaxis(stacked, (2, 3, 4, 5), (5, 0, 3, 4))


def transfer(
  subject: Subject, measured: Mapping[str, np.ndarray] = MappingProxyType({})
) -> Arrays:
  """Measures what the attacks of every norm leave at every radius.

  The chain of a norm goes from the smallest radius to the largest; every attack
  meets the examples that none before it broke. An example has the same keys
  whichever others are attacked with it: what `gradients` attacked already is
  taken from there, and equals what would be measured here.

  Args:
    subject: the network.
    measured: from `gradients` or `summarized`, of the same network.

  Returns:
    Of the first examples, [A]: ``label``; ``correct`` when clean; and
    ``attack/NORM/LEVEL/success``, whether an example is right when clean and
    broken at this radius or a smaller one, whose ball lies in its own.

  Raises:
    UnjudgedError: an output could not be judged: it is no defence.
    ValueError: `measured` is of a network that is right on other examples.
  """
  few = subject.first(subject.protocol.transfer_examples)
  labels = np.asarray(few.labels)
  count = len(labels)
  correct = _evaluate(subject, {}, np.arange(count)).clean.correct
  known = {name: array[:count] for name, array in measured.items()}
  if not np.array_equal(known.get("correct", correct), correct):
    raise ValueError(
      f"the gradients of {subject.member.words} must be of the same weights; "
      f"got {int((known['correct'] != correct).sum())} of {count} examples "
      "that are right in one of both only. Remove them, and run again"
    )
  arrays: Arrays = {"label": labels, "correct": correct}
  for norm in subject.protocol.transfer_norms:
    fallen = np.zeros(count, bool)
    for level in range(len(subject.radii[norm])):
      path = ATTACK.format(norm=norm, level=level, field="success")
      if path in known:
        fallen |= known[path] & correct
      else:
        rows = np.flatnonzero(correct & ~fallen)
        chain = _chain(subject, norm, level)
        for outcome in _evaluate(subject, chain, rows).attacks.values():
          fallen[rows] |= outcome.success
      arrays[path] = fallen.copy()
  return {name: _small(name, array) for name, array in arrays.items()}


def _evaluate(
  subject: Subject, wanted: Mapping[str, tuple[Case, str]], rows: np.ndarray
) -> evaluation.Evaluation:
  """Attacks some examples, each attack the survivors of those before it."""
  builders = _builders(subject, wanted)
  whole = evaluation.evaluate(
    builders,
    subject.bound(),
    # On the host: every other number of rows would be compiled for itself.
    jax.tree.map(lambda leaf: np.asarray(leaf)[rows], subject.batch.inputs),
    np.asarray(subject.batch.labels)[rows],
    key=_attack_key(subject),
    indices=rows,
    microbatch=subject.protocol.microbatch,
    progress=_tell_stages(subject, list(builders)),
  )
  evaluation.refuse_outside(whole)
  return whole


def _attack_key(subject: Subject) -> Key:
  """The key of all attacks, equal for all arms of a seed."""
  return build.key(subject.member.config, "questions: attacks")


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
      chain = _chain(subject, norm, level)
      for rank, path in enumerate(chain):
        if chains[norm]:
          survivors[path] = tuple(chains[norm])
        chains[norm][path] = level, rank
      wanted |= chain
  wanted |= beside
  builders = _builders(subject, wanted)
  chunks = list(
    evaluation.stream(
      builders,
      subject.bound(),
      batch.inputs,
      batch.labels,
      key=_attack_key(subject),
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
  for norm, places in chains.items():
    worst = _Worst(batch.inputs, labels)
    for level in levels[norm]:
      for chunk in chunks:
        if places.get(chunk.stage, (-1, -1))[0] == level:
          worst.add(chunk, places[chunk.stage][1])
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


def _chain(
  subject: Subject, norm: str, level: int
) -> dict[str, tuple[Case, str]]:
  """The attacks of a norm at one radius, by path, in their order."""
  cases = [
    _case(subject, step, norm, level) for step in subject.protocol.chains[norm]
  ]
  return {f"{norm}/{case.path}": (case, norm) for case in cases}


def _case(subject: Subject, step: Step, norm: str, level: int) -> Case:
  """One attack of a chain at one radius, in all modalities."""
  wanted = SuiteAttack(step.kind, (step.rule,), step.name, loss=step.loss)
  attack = with_defaults(wanted._replace(steps=step.steps))
  return _at(subject, attack, norm, level)


def _at(subject: Subject, attack: SuiteAttack, norm: str, level: int) -> Case:
  radius = float(subject.radii[norm][level])
  radii = dict.fromkeys(subject.member.modalities, radius)
  target = planning.EVERYTHING if len(radii) > 1 else next(iter(radii))
  cell = planning.Cell(norm, target, level, radii)
  return planning.case_of(cell, attack, [norm])


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
    built = many_rules.builders(
      plan, views, {norm: NORMS[norm]}, subject.batch.inputs, {}
    )
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


def _clean_pass(subject: Subject) -> Arrays:
  """Margins, and spikes per neuron and step, of the clean inputs, each [N]."""

  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> dict[str, Array]:
    del logits  # the forward pass gives them, with the spikes
    forward = subject.parts.forward(subject.variables, keys, inputs)
    rows = [
      jnp.moveaxis(trace.spikes, 1, 0).reshape(len(labels), -1)
      for trace in forward.traces.values()
    ]
    return {
      "margin": CONFIDENCES["margin"](forward.logits, jnp.asarray(labels)),
      "firing_rate": jnp.mean(jnp.concatenate(rows, 1), 1),
    }

  measured: Any = in_microbatches(
    measure,
    subject.bound(),
    subject.batch.inputs,
    subject.batch.labels,
    key=build.key(subject.member.config, "questions: clean"),
    microbatch=subject.protocol.microbatch,
  )
  return dict(measured)


def points_of(protocol: Protocol) -> tuple[str, ...]:
  """Returns where gradients are measured: clean, and by norm of attack."""
  return (CLEAN, *protocol.norms)


def parts_of(modalities: Iterable[str]) -> tuple[str, ...]:
  """Returns the parts of a gradient: each modality, and of several all.

  Modalities are in the order of their names, as in every mapping of arrays.
  """
  own = tuple(sorted(modalities))
  return (*own, JOINT) if len(own) > 1 else own


def _metrics(tree: Inputs) -> Array:
  """The metrics of all parts of B gradients, [B, Q, M]."""
  own = dict(build.by_modality(tree))
  rows = {n: leaf.reshape(leaf.shape[0], -1) for n, leaf in own.items()}
  if len(rows) > 1:
    rows[JOINT] = jnp.concatenate(list(rows.values()), 1)
  table = []
  for part in parts_of(own):
    metrics = sparsity.measure(rows[part])
    values = (
      jnp.log(metrics.participation_ratio),
      metrics.gini,
      metrics.l0_relative / rows[part].shape[1],
      jnp.log(metrics.l1),
      jnp.log(metrics.linf),
    )
    # A zero gradient is no gradient: it is counted, never averaged in.
    known = ~metrics.is_zero[:, None]
    table.append(jnp.where(known, jnp.stack(values, 1), jnp.nan))
  return jnp.stack(table, 1)


def _gradients() -> Callable[..., Any]:
  """Returns the measurement of all confidences at one point, [B, C, Q, M]."""

  @jax.jit
  def measure(
    logits: LogitsFn, keys: Key, inputs: Inputs, labels: Labels
  ) -> Array:
    table = []
    for confidence in CONFIDENCES.values():
      function = losses.composed(logits, confidence)
      # Statistics are frozen: one backward pass gives every example's own.
      pulled = gradient_functions.summed(function)(
        jax.random.clone(keys), inputs, labels
      )
      table.append(_metrics(pulled))
    return jnp.stack(table, 1)

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
    recorded = attacks.ascend_recorded(
      attacks.white_box(losses.scored(logits, losses.cross_entropy)),
      optax.chain(steepest(ascended), scale_steps(size)),
      ascended,
      steps=steps,
      start=threat.sample,
      record=lambda _, probe: (_metrics(probe.gradient), probe.correct),
    )
    _, records = recorded(keys, inputs, labels)
    # Rows of examples first.
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), records)

  return measure


def _measure_along(subject: Subject, correct: np.ndarray) -> Arrays:
  """The metrics at every step, over the examples that are right when clean."""
  protocol = subject.protocol
  few = subject.first(protocol.along)
  right = correct[: len(few.labels)]
  means, zeros, standing = [], [], []
  for norm in protocol.norms:
    recorded: Any = in_microbatches(
      functools.partial(
        subject.parts.along[norm], subject.ball(norm, protocol.level)
      ),
      subject.bound(),
      few.inputs,
      few.labels,
      key=build.key(subject.member.config, "questions: along"),
      microbatch=min(protocol.microbatch, len(few.labels)),
    )
    metrics, correct_there = (each[right] for each in recorded)
    # [A, S, Q, M] -> [Q, M, S]
    zero = np.isnan(metrics[..., 0])
    total = np.nansum(metrics, 0)
    with np.errstate(invalid="ignore"):  # no gradient left: nan, and counted
      means.append((total / (~zero).sum(0)[..., None]).transpose(1, 2, 0))
    zeros.append(zero.mean(0).T)
    standing.append(correct_there.mean(0))
  return {
    "along": np.stack(means),
    "along_zeros": np.stack(zeros),
    "along_standing": np.stack(standing),
  }


# Closed forms know no box: a pixel at the wall would move one way only.
_NOWHERE = (-np.inf, np.inf)


def _vulnerability(norm: str, protocol: Protocol) -> Callable[..., Any]:
  """Returns the measured changes of the margin, and those of first order.

  Within the ball alone: inputs may leave the data box here.

  The measured adversarial one is that of an attack that lowers the margin: a
  lower bound of the supremum.
  """
  order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
  make = attacks.slide if norm == "l1" else attacks.pgd

  @jax.jit
  def measure(
    radii: Mapping[str, Array],
    logits: LogitsFn,
    keys: Key,
    inputs: Inputs,
    labels: Labels,
  ) -> Array:
    ((name, radius),) = radii.items()
    threat = NORMS[norm](radius, box=_NOWHERE)
    margin = losses.composed(logits, CONFIDENCES["margin"])
    chance_key, attack_key, key = split(keys, 3)
    lowering = make(
      logits,
      threat,
      loss=losses.margin_loss,
      steps=protocol.chains[norm][0].steps,
      keep=attacks.best_loss,
    )
    chance = vulnerability.random_vulnerability(
      margin, threat.sample, draws=max(protocol.random_draws, 2)
    )(chance_key, inputs, labels)
    worst = vulnerability.adversarial_vulnerability(margin, lowering)(
      attack_key, inputs, labels
    )
    slope = build.by_modality(
      gradient_functions.summed(margin)(key, inputs, labels)
    )[name]
    first = vulnerability.first_order(slope, order)
    by_kind = {
      "random": chance.mean,
      "adversarial": worst,
      "first_random": first.random * radius**2,
      "first_adversarial": first.adversarial * radius**2,
      "lower": first.lower,
      "upper": first.upper,
    }
    return jnp.stack([by_kind[kind] for kind in KINDS], 1)

  return measure


def _measure_vulnerability(
  subject: Subject, norm: str, scale: float
) -> np.ndarray:
  """Both vulnerabilities at a share of the radius, [K, A]."""
  protocol = subject.protocol
  few = subject.first(protocol.along)
  ball = subject.ball(norm, protocol.level, scale)
  measured: Any = in_microbatches(
    functools.partial(subject.parts.vulnerability[norm], ball),
    subject.bound(),
    few.inputs,
    few.labels,
    key=build.key(subject.member.config, "questions: vulnerability"),
    microbatch=min(protocol.microbatch, len(few.labels)),
  )
  return np.asarray(measured).T


def _small(name: str, array: np.ndarray) -> np.ndarray:
  """An array in the smallest type that keeps what is read of it."""
  if array.dtype == bool:
    return array
  if np.issubdtype(array.dtype, np.integer):
    return array if name == "part_sizes" else array.astype(np.int8)
  # Squares of margins would leave the range of half precision.
  return array.astype(np.float32 if name == "vulnerability" else np.float16)
