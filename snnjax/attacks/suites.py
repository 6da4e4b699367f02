"""AutoAttack: four to six parameter-free attacks; an example survives all.

Each function returns its attacks by name, in the order to run them;
`snnjax.evaluation.autoattack` runs them on the survivors. They take a norm
and its radius, or a ready threat: one norm ball, or one for each modality.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from snnjax import losses
from snnjax.arguments import describe, logits_function
from snnjax.attacks.combinators import within
from snnjax.attacks.gradient.auto_pgd import (
  TargetedLoss,
  auto_pgd,
  shrinking_auto_pgd,
  targeted_auto_pgd,
)
from snnjax.attacks.minimum_norm.fab import fab, targeted_fab
from snnjax.attacks.minimum_norm.minimum_norm import MinimalAttack, as_attack
from snnjax.attacks.oracles import eot
from snnjax.attacks.queries.square import square
from snnjax.attacks.threats.threat import Threat, check_threat, norm_of
from snnjax.interfaces import AnyLogitsFn, Attack, LogitsFn

OfRadius = Callable[[Any], Threat]  # radius, or one per modality -> threat

_SCHEDULE = 10_000  # the queries over which Square's patches shrink


class Effort(NamedTuple):
  """How much AutoAttack spends.

  Attributes:
    steps: of each run of APGD and FAB.
    queries: of Square.
    targets: how many rivals; C - 1 if there are fewer.
    loss: of APGD-T; the default needs four classes, `targeted_margin_loss`
      only two.
    draws: how many draws of a random network each gradient averages, in
      `autoattack_rand`.
  """

  steps: int = 100
  queries: int = 5000
  targets: int = 9
  loss: TargetedLoss = losses.targeted_dlr
  draws: int = 20


FULL = Effort()


def threat_of(threat: Threat | OfRadius, epsilon: Any = None) -> Threat:
  """Returns the threat of a norm and its radius, or the ready threat.

  Args:
    threat: ``radius -> threat``, such as `linf`; or a threat.
    epsilon: the radius, or what else the norm takes; None with a threat.

  Raises:
    ValueError: if it is neither a norm nor a threat; if a norm comes without a
      radius or a threat with one.
  """
  if isinstance(threat, Threat):
    if epsilon is not None:
      raise ValueError(
        f"epsilon must be None with a ready threat; got {epsilon}"
      )
    return threat
  if not callable(threat):
    raise ValueError(
      "threat must be a norm, such as attacks.linf, with epsilon, or a ready "
      f"threat, attacks.linf(8 / 255); got {describe(threat)}"
    )
  if epsilon is None:
    raise ValueError("epsilon must be given where threat is a norm; got None")
  ready = threat(epsilon)
  check_threat(ready, f"threat({epsilon})")
  return ready


def autoattack_standard(
  logits_fn: AnyLogitsFn,
  threat: Threat | OfRadius,
  epsilon: Any = None,
  *,
  effort: Effort = FULL,
) -> Mapping[str, Attack]:
  """Returns APGD on cross-entropy, APGD-T, FAB-T and Square.

  Under l1, both APGDs run in shrinking balls, the first with five restarts
  and the second towards at most five rivals, as the authors do.

  Args:
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone; its backward
      rule is the one that the white-box attacks follow.
    threat: ``radius -> threat``, such as `linf`; or a ready threat, such as
      ``per_modality({"image": linf(0.03), "events": l1(20.0)})``.
    epsilon: the radius, where `threat` is a norm; may be traced.
    effort: how much to spend.

  Raises:
    ValueError: if a count is below one, or the threat is not a norm ball or
      one for each modality.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690; for l1, 2021, arXiv 2103.01208.

  Differs from the authors' code as its parts do: see `auto_pgd`, `fab` and
  `square`.
  """
  parts = _Parts(logits_function(logits_fn), threat_of(threat, epsilon), effort)
  # The authors' numbers under l1, where one run is three shorter ones.
  few = 5 if parts.sparse else 9
  return {
    "apgd_ce": parts.apgd(losses.cross_entropy, 5 if parts.sparse else 1),
    "apgd_t": parts.apgd_t(min(effort.targets, few)),
    "fab_t": parts.fab_t(),
    "square": parts.square(),
  }


def autoattack_plus(
  logits_fn: AnyLogitsFn,
  threat: Threat | OfRadius,
  epsilon: Any = None,
  *,
  effort: Effort = FULL,
) -> Mapping[str, Attack]:
  """Returns the standard attacks, APGD on DLR and untargeted FAB.

  APGD and FAB restart five times.

  Args:
    logits_fn: see `autoattack_standard`.
    threat: see `autoattack_standard`.
    epsilon: the radius, where `threat` is a norm.
    effort: how much to spend.

  Raises:
    ValueError: as `autoattack_standard`.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  parts = _Parts(logits_function(logits_fn), threat_of(threat, epsilon), effort)
  return {
    "apgd_ce": parts.apgd(losses.cross_entropy, 5),
    "apgd_dlr": parts.apgd(losses.dlr, 5),
    "fab": parts.fab(5),
    "square": parts.square(),
    "apgd_t": parts.apgd_t(effort.targets),
    "fab_t": parts.fab_t(),
  }


def autoattack_rand(
  logits_fn: AnyLogitsFn,
  threat: Threat | OfRadius,
  epsilon: Any = None,
  *,
  effort: Effort = FULL,
) -> Mapping[str, Attack]:
  """Returns APGD on cross-entropy and on DLR, averaged over draws.

  For stochastic networks: a random encoder, a stochastic gate.

  Args:
    logits_fn: see `autoattack_standard`.
    threat: see `autoattack_standard`.
    epsilon: the radius, where `threat` is a norm.
    effort: its steps and draws.

  Raises:
    ValueError: if a count is below one.

  References:
    Croce, Hein 2020, arXiv 2003.01690.
  """
  budget = threat_of(threat, epsilon)
  logits_fn = logits_function(logits_fn)
  return {
    f"apgd_{name}": auto_pgd(
      eot(logits_fn, effort.draws, loss=loss),
      budget,
      steps=effort.steps,
    )
    for name, loss in (("ce", losses.cross_entropy), ("dlr", losses.dlr))
  }


class _Parts(NamedTuple):
  """The attacks of the suites, for one network and budget."""

  logits_fn: LogitsFn
  threat: Threat
  effort: Effort

  @property
  def sparse(self) -> bool:
    """Whether the threat is l1, or that of a modality is."""
    return 1 in norm_of(self.threat).orders

  def apgd(self, loss: losses.LogitsLoss, restarts: int) -> Attack:
    make = shrinking_auto_pgd if self.sparse else auto_pgd
    steps = self.effort.steps
    return make(
      self.logits_fn, self.threat, loss=loss, steps=steps, restarts=restarts
    )

  def apgd_t(self, targets: int) -> Attack:
    make = shrinking_auto_pgd if self.sparse else auto_pgd
    steps = self.effort.steps
    return targeted_auto_pgd(
      self.logits_fn,
      self.threat,
      targets=targets,
      loss=self.effort.loss,
      attack=lambda source: make(source, self.threat, steps=steps),
    )

  def fab(self, restarts: int) -> Attack:
    steps, rivals = self.effort.steps, self.effort.targets
    return self._budgeted(
      fab(
        self.logits_fn,
        self.threat,
        steps=steps,
        restarts=restarts,
        rivals=rivals,
      )
    )

  def fab_t(self) -> Attack:
    steps, targets = self.effort.steps, self.effort.targets
    return self._budgeted(
      targeted_fab(self.logits_fn, self.threat, steps=steps, targets=targets)
    )

  def square(self) -> Attack:
    queries = self.effort.queries
    return square(
      self.logits_fn, self.threat, queries=queries, schedule=_SCHEDULE
    )

  def _budgeted(self, attack: MinimalAttack) -> Attack:
    return within(as_attack(attack), self.logits_fn, self.threat)
