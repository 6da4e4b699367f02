"""Several attacks or gradients as one, and a sharpness chosen beforehand."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import prng, vectors
from snnjax.arguments import as_labels, check_attack, check_attacks
from snnjax.attacks.admission import admit_result, checked_labels
from snnjax.attacks.candidates import (
  Keep,
  candidate,
  check_keep,
  keep_better,
  success_then_loss,
)
from snnjax.attacks.oracles import (
  Oracle,
  OracleState,
  Probe,
  Source,
  as_oracle,
  check_oracle,
)
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_floating, check_threat
from snnjax.interfaces import Array, Attack, AttackResult, Inputs, Key, Labels
from snnjax.losses import LogitsLoss, margin_loss


def worst_of(
  attacks: Sequence[Attack], *, keep: Keep = success_then_loss
) -> Attack:
  """Returns the attack that runs all of them and keeps the worst per example.

  A success beats a failure, and among equals the higher loss wins. Attacks
  that differ in their backward rule alone see the same losses; those with
  different losses should be compared by their success only.

  Args:
    attacks: at least one, as a rule one attack under each backward rule.
    keep: chooses between their results. `best_loss` does not ask for success:
      with one attack for each norm, training on it descends the largest loss
      in the union of the balls (Tramer, Boneh 2019, "Adversarial training and
      robustness for multiple perturbations", arXiv 1904.13000).

  Raises:
    ValueError: if there is no attack, or `keep` is no rule.
  """
  attacks = check_attacks(attacks)
  check_keep(keep)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    size = prng.batch_size(inputs)
    keys, labels = prng.example_keys(key, size), as_labels(labels, size)
    best = attacks[0](prng.fold_in(keys, 0), inputs, labels)
    for index, single in enumerate(attacks[1:], 1):
      new = single(prng.fold_in(keys, index), inputs, labels)
      best = keep_better(keep, best, new)
    return best

  return attack


def gradient_mean(oracles: Sequence[Oracle]) -> Oracle:
  """Returns the oracle whose gradient is the mean of normalised gradients.

  ``g = (1/n) sum_i g_i / ||g_i||_2`` per example, over all modalities; a zero
  gradient adds nothing. The loss is the mean loss, and an example counts as
  broken only if every oracle says so.

  Args:
    oracles: at least one, as a rule one for each backward rule.

  Raises:
    ValueError: if there is no oracle.
  """
  if not oracles:
    raise ValueError("oracles must hold at least one oracle; got none")
  for place, oracle in enumerate(oracles):
    check_oracle(oracle, f"oracles[{place}]")
  oracles = tuple(oracles)

  def init(inputs: Inputs) -> OracleState:
    return tuple(oracle.init(inputs) for oracle in oracles)

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    probes, states = zip(
      *(
        oracle.grad(key, memory, inputs, labels)
        for oracle, memory in zip(oracles, state, strict=True)
      ),
      strict=True,
    )
    # Unit length first: else the rule with the largest gradients decides alone.
    restore = ravel.ravel_examples(probes[0].gradient)[1]
    units = [
      vectors.unit(ravel.ravel_examples(probe.gradient)[0]) for probe in probes
    ]
    mean = jnp.mean(jnp.stack(units), 0)
    loss = jnp.mean(jnp.stack([probe.loss for probe in probes]), 0)
    correct = jnp.any(jnp.stack([probe.correct for probe in probes]), 0)
    return Probe(loss, restore(mean), correct), states

  return Oracle(init, grad)


def transfer(
  attacks: Sequence[Attack], target: Source, *, loss: LogitsLoss | None = None
) -> Attack:
  """Returns the attack on stand-ins, whose success on the target counts.

  No gradient of the target is used: where this beats the white-box attack,
  the target's gradient is masked. Its iterations are queries of the target.
  It has no threat of its own: where traced inputs are outside the box, the
  stand-ins' results are, and only an evaluation's own check tells.

  Args:
    attacks: attacks on other classifiers, at least one.
    target: the attacked logits function, or an oracle.
    loss: of a logits function, see `Source`; None is the margin loss.

  Raises:
    ValueError: if there is no attack.

  References:
    Nicolas Papernot, Patrick McDaniel, Ian Goodfellow, 2016,
    "Transferability in machine learning", arXiv 1605.07277.
  """
  attacks = check_attacks(attacks)
  oracle = as_oracle(target, loss, margin_loss)

  def attack(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    check_floating(inputs)
    size = prng.batch_size(inputs)
    keys, labels = prng.example_keys(key, size), as_labels(labels, size)
    # The clean input competes, under a key of its own.
    points, probe_keys = [inputs], [prng.fold_in(keys, 0)]
    for index, stand_in in enumerate(attacks, 1):
      stand_in_keys = prng.fold_in(keys, index)
      points.append(
        stand_in(prng.fold_in(stand_in_keys, 0), inputs, labels).inputs
      )
      probe_keys.append(prng.fold_in(stand_in_keys, 1))
    best, *others = _probe_in_turn(oracle, probe_keys, points, labels)
    for new in others:
      best = keep_better(success_then_loss, best, new)
    return best

  return attack


def within(
  attack: Attack,
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
) -> Attack:
  """Returns a minimal-norm attack under a budget.

  Its results are projected into the threat and tried again there; the clean
  input competes. Without this an evaluation refuses the attack: some of its
  nearest adversarial examples lie beyond the budget.

  Args:
    attack: one without a budget, as a rule.
    source: decides on the projected points: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the margin loss.

  Raises:
    ValueError: if an argument is something else.
  """
  check_attack(attack)
  check_threat(threat)
  oracle = as_oracle(source, loss, margin_loss)

  def bounded(key: Key, inputs: Inputs, labels: Labels) -> AttackResult:
    labels = checked_labels(threat, inputs, labels)
    keys = prng.example_keys(key, prng.batch_size(inputs))
    result = attack(prng.fold_in(keys, 0), inputs, labels)
    near = threat.project(result.inputs, inputs)
    probe_keys = [prng.fold_in(keys, index) for index in (1, 2)]
    clean, new = _probe_in_turn(oracle, probe_keys, [inputs, near], labels)
    new = new._replace(iterations=result.iterations + new.iterations)
    best = keep_better(success_then_loss, clean, new)
    return admit_result(threat, best, inputs)

  return bounded


def probe_points(
  oracle: Oracle, key: Key, inputs: Inputs, labels: Labels
) -> AttackResult:
  """Returns points as an attack's result, with the loss and success there."""
  probe, _ = oracle.grad(key, oracle.init(inputs), inputs, labels)
  return candidate(inputs, probe.loss, ~probe.correct)


def _probe_in_turn(
  oracle: Oracle, keys: Sequence[Key], points: Sequence[Inputs], labels: Labels
) -> list[AttackResult]:
  """Returns `probe_points` of several batches; the network is compiled once."""

  def probe(turn: tuple[Key, Inputs]) -> AttackResult:
    key, inputs = turn
    return probe_points(oracle, key, inputs, labels)

  turns = (jnp.stack(keys), jax.tree.map(lambda *row: jnp.stack(row), *points))
  results = jax.lax.map(probe, turns)
  return [
    jax.tree.map(lambda leaf, place=place: leaf[place], results)
    for place in range(len(points))
  ]


class TunedValue(NamedTuple):
  """A tuned hyper-parameter and the evidence for it.

  Attributes:
    value: the chosen one.
    successes: the success rate of each candidate on the tuning examples.
    tuning_indices: the examples it was chosen on, for the alarm
      "tuned on the reported examples".
  """

  value: float
  successes: dict[float, float]
  tuning_indices: frozenset[int]


def choose_sharpness(
  build: Callable[[Array], Attack],
  candidates: Sequence[float],
  key: Key,
  inputs: Inputs,
  labels: Labels,
  *,
  tuning_indices: Collection[int],
  reported_indices: Collection[int] = (),
) -> TunedValue:
  """Returns the candidate whose attack breaks most held-out examples.

  Ties go to the higher mean loss. All candidates share one compilation.

  Args:
    build: ``sharpness (traced scalar) -> Attack``.
    candidates: the values to try, at least one.
    key: the same for every candidate.
    inputs: held-out examples, never those that are reported.
    labels: [B].
    tuning_indices: which examples of the data set these are, [B].
    reported_indices: the examples that will be reported, if known.

  Raises:
    ValueError: if there is no candidate, the indices do not fit the inputs,
      a tuning example is also reported, or an attack's loss is NaN, so that
      nothing can be chosen by it.
  """
  if not candidates:
    raise ValueError("candidates must hold at least one value; got none")
  indices = frozenset(int(index) for index in tuning_indices)
  size = prng.batch_size(inputs)
  if len(tuning_indices) != size:
    raise ValueError(
      f"tuning_indices must name the {size} tuning examples; got "
      f"{len(tuning_indices)}"
    )
  # A value tuned on the reported examples would flatter the attack.
  shared = indices & {int(index) for index in reported_indices}
  if shared:
    raise ValueError(
      f"tuning_indices must not be reported; {len(shared)} are, the first "
      f"{min(shared)}"
    )

  # The value is traced, so that one program serves all candidates.
  @jax.jit
  def score(value: Array, inputs: Inputs, labels: Labels) -> tuple:
    result = build(value)(key, inputs, labels)
    return jnp.mean(result.success.astype(jnp.float32)), jnp.mean(result.loss)

  scores = {
    float(value): tuple(
      float(np.asarray(number))
      for number in score(jnp.asarray(value, float), inputs, labels)
    )
    for value in candidates
  }
  unknown = [value for value, (_, loss) in scores.items() if np.isnan(loss)]
  if unknown:
    raise ValueError(
      "inputs must be such that every attack on them can be judged; the loss "
      f"is NaN for the candidates {unknown}: logits that are not finite, "
      "labels that name no class, or inputs outside the box"
    )
  # (success rate, mean loss): ties of the first go to the second.
  best = max(scores, key=lambda value: scores[value])
  successes = {value: success for value, (success, _) in scores.items()}
  return TunedValue(best, successes, indices)
