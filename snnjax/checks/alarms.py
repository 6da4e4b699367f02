"""The table of alarms, and what a report says of each."""

import enum
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from snnjax.checks import findings
from snnjax.checks.findings import Finding
from snnjax.evaluation import Evaluation, summarize


class State(enum.Enum):
  """Where an alarm stands."""

  FIRED = "fired"
  SILENT = "silent"
  NOT_CHECKED = "not checked"


class Severity(enum.IntEnum):
  """What a fired alarm means for the reported accuracy.

  A fatal one makes the number meaningless, a serious one makes it too high by
  an unknown amount, a caution asks for a look.
  """

  CAUTION = 1
  SERIOUS = 2
  FATAL = 3


class Alarm(NamedTuple):
  """What one check found.

  Attributes:
    name: the check's name, in words.
    state: fired, silent, or not checked.
    severity: what it means if it fires.
    cause: what it tells when it fires.
    remedy: what to do then.
    evidence: the numbers it was decided by; empty if it was not checked.
    missing: the measurements it lacked, if it was not checked.
    subject: what was checked: a network, an attack, a modality.
  """

  name: str
  state: State
  severity: Severity
  cause: str
  remedy: str
  evidence: Mapping[str, float]
  missing: tuple[str, ...] = ()
  subject: str = ""

  @property
  def fired(self) -> bool:
    """Whether the alarm fired; False also if it was not checked."""
    return self.state is State.FIRED


class Measurements(NamedTuple):
  """What the alarms look at; None where it was not measured.

  Accuracies are over all examples, in [0, 1]. The fields are the parameters
  of the functions in `findings`, described there.
  """

  one_step_accuracy: float | None = None
  many_step_accuracy: float | None = None
  accuracy: float | None = None
  doubled_steps_accuracy: float | None = None
  epsilons: Sequence[float] | None = None
  epsilon_accuracies: Sequence[float] | None = None
  large_epsilon_accuracy: float | None = None
  chance: float | None = None
  white_box_accuracy: float | None = None
  gradient_free_accuracies: Mapping[str, float] | None = None
  zero_gradient_fraction: float | None = None
  own_rule_accuracy: float | None = None
  all_rules_accuracy: float | None = None
  rules: int | None = None
  finite_difference_cosine: float | None = None
  ten_draws_accuracy: float | None = None
  twenty_draws_accuracy: float | None = None
  differing_forwards: int | None = None
  statistics_change: float | None = None
  outside: int | None = None
  non_finite: int | None = None
  one_restart_accuracy: float | None = None
  ten_restarts_accuracy: float | None = None
  loss_accuracies: Mapping[str, float] | None = None
  reported_accuracy: float | None = None
  differing_alone: int | None = None
  tuning_indices: Collection[int] | None = None
  reported_indices: Collection[int] | None = None
  disagreeing_claims: int | None = None


class Check(NamedTuple):
  """One line of the table: a decision, and what to say about it."""

  name: str
  decide: Callable[..., Finding | None]
  severity: Severity
  cause: str
  remedy: str


CHECKS = (
  Check(
    "Outputs outside ball or box, or not finite",
    findings.outputs_invalid,
    Severity.FATAL,
    "The attack returned inputs that the threat does not allow, or numbers "
    "that are not numbers; its result measures something else.",
    "Fix the projection; look for a division by a zero gradient; compute in "
    "float32.",
  ),
  Check(
    "Tuned on the reported examples",
    findings.tuned_on_the_reported,
    Severity.FATAL,
    "Hyper-parameters of the attack were chosen on examples that are reported.",
    "Choose them on a held-out split.",
  ),
  Check(
    "Normalisation statistics changed",
    findings.statistics_moved,
    Severity.FATAL,
    "The attack ran the network in train mode: it attacked a moving target.",
    "Run the network with frozen statistics (train=False).",
  ),
  Check(
    "A gradient-free attack beats the white box",
    findings.gradient_free_beats_white_box,
    Severity.SERIOUS,
    "Random, black-box or transferred inputs break examples that the gradient "
    "does not: the gradient is masked.",
    "Attack under more backward rules and sharpnesses, with more steps and "
    "restarts; report the worst case, the gradient-free attack included.",
  ),
  Check(
    "One step beats many",
    findings.one_step_beats_many,
    Severity.SERIOUS,
    "Iterating makes the attack weaker: the gradients along the way mislead.",
    "Use a smaller step size, another backward rule or a smoother surrogate, "
    "and a random start.",
  ),
  Check(
    "Gradients are exactly zero",
    findings.gradients_vanish,
    Severity.SERIOUS,
    "The attack cannot move from these examples; they look robust because "
    "the gradient vanished (dead neurons, a narrow surrogate, saturation).",
    "Use a surrogate with wide support (atan), a margin loss, a random start "
    "and a gradient-free attack.",
  ),
  Check(
    "One rule alone is much weaker than all",
    findings.own_rule_is_weak,
    Severity.SERIOUS,
    "The gradient of a single backward rule hides much of the vulnerability.",
    "Report the per-example worst case over all rules.",
  ),
  Check(
    "The gradient points elsewhere",
    findings.gradient_points_elsewhere,
    Severity.SERIOUS,
    "The surrogate's gradient has little to do with the loss as it really is.",
    "Search the surrogate and its sharpness on a held-out split; add a "
    "gradient-free attack.",
  ),
  Check(
    "Accuracy survives any epsilon",
    findings.survives_any_epsilon,
    Severity.SERIOUS,
    "With half the range to move in, every input can be turned grey; an "
    "attack that does not get to chance does not work.",
    "Check the loss, the step size and the gradient of the attack.",
  ),
  Check(
    "Accuracy rises with epsilon",
    findings.accuracy_rises,
    Severity.SERIOUS,
    "A larger ball holds the smaller one: the attack failed to use the room.",
    "Scale the step size with epsilon, add steps and restarts.",
  ),
  Check(
    "The attack has not converged",
    findings.steps_not_converged,
    Severity.SERIOUS,
    "Twice the steps change the accuracy.",
    "Double the steps until the accuracy no longer changes.",
  ),
  Check(
    "Too few restarts",
    findings.too_few_restarts,
    Severity.SERIOUS,
    "The result depends on the random start.",
    "Attack with ten restarts and take the worst case per example.",
  ),
  Check(
    "Losses disagree",
    findings.losses_disagree,
    Severity.SERIOUS,
    "Another loss breaks more examples than the one reported.",
    "Report the per-example worst case over the losses.",
  ),
  Check(
    "Too few draws",
    findings.too_few_draws,
    Severity.SERIOUS,
    "The average over random encodings has not settled.",
    "Average the gradient over more draws until the accuracy is stable.",
  ),
  Check(
    "The batch matters",
    findings.batch_matters,
    Severity.SERIOUS,
    "An example fares differently alone than among others: the network or "
    "the rule mixes the examples of a batch.",
    "Freeze the normalisation; report the batch size with rules, such as "
    "PDSG, that depend on it.",
  ),
  Check(
    "Two forward passes differ",
    findings.forwards_differ,
    Severity.CAUTION,
    "The network is random: one draw of its gradient is noise, and an example "
    "may be broken by chance.",
    "Attack the average over draws (EOT) and judge over several draws.",
  ),
  Check(
    "The attack's claims are contradicted",
    findings.claims_disagree,
    Severity.CAUTION,
    "The attack optimised another function than the network that is judged.",
    "Give the attack the same logits; with a random network, see above.",
  ),
)


def check(
  measurements: Measurements,
  subject: str = "",
  checks: Sequence[Check] = CHECKS,
) -> tuple[Alarm, ...]:
  """Returns one alarm per check: the fired first, the gravest foremost.

  Args:
    measurements: what was measured.
    subject: what it was measured on; repeated in each alarm.
    checks: the table; the order within a severity is kept.

  Returns:
    Fired alarms, then those not checked, then the silent ones.
  """
  order = (State.FIRED, State.NOT_CHECKED, State.SILENT)
  return tuple(
    sorted(
      (_alarm(measurements, subject, line) for line in checks),
      key=lambda alarm: (order.index(alarm.state), -alarm.severity),
    )
  )


def measured(evaluation: Evaluation) -> Measurements:
  """Returns what one evaluation tells; add the rest with ``_replace``."""
  summary = summarize(evaluation)
  attacks = summary.attacks.values()
  fractions = [a.zero_gradient for a in attacks if a.zero_gradient is not None]
  return Measurements(
    accuracy=summary.robust.estimate,
    reported_accuracy=summary.robust.estimate,
    zero_gradient_fraction=max(fractions, default=None),
    differing_forwards=summary.unrepeatable,
    outside=sum(attack.outside for attack in attacks),
    non_finite=summary.non_finite + sum(a.non_finite for a in attacks),
    disagreeing_claims=sum(attack.disagreeing for attack in attacks),
    reported_indices=frozenset(evaluation.indices.tolist()),
  )


def _alarm(measurements: Measurements, subject: str, line: Check) -> Alarm:
  wanted = inspect.signature(line.decide).parameters
  values = {name: getattr(measurements, name) for name in wanted}
  missing = tuple(name for name, value in values.items() if value is None)
  finding = None if missing else line.decide(**values)
  if finding is None:
    state, evidence = State.NOT_CHECKED, {}
  else:
    state = State.FIRED if finding.fired else State.SILENT
    evidence = dict(finding.evidence)
  return Alarm(
    name=line.name,
    state=state,
    severity=line.severity,
    cause=line.cause,
    remedy=line.remedy,
    evidence=evidence,
    missing=missing,
    subject=subject,
  )
