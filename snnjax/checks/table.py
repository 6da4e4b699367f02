"""The table of checks: what each decides, and what to say when it fires."""

import enum
from collections.abc import Callable
from typing import NamedTuple

from snnjax.checks import coverage, criteria
from snnjax.checks.decisions import Decision


class Severity(enum.IntEnum):
  """What a fired alarm means for the reported accuracy.

  A fatal one makes the number meaningless, a serious one makes it too high by
  an unknown amount, a caution asks for a look.
  """

  CAUTION = 1
  SERIOUS = 2
  FATAL = 3


class Check(NamedTuple):
  """One line of the table: a decision, and what to say about it."""

  name: str
  decide: Callable[..., Decision]
  severity: Severity
  cause: str
  remedy: str


CHECKS = (
  Check(
    "Outputs outside ball or box, or not finite",
    criteria.outputs_invalid,
    Severity.FATAL,
    "The attack returned inputs that the threat does not allow, or numbers "
    "that are not numbers; its result measures something else.",
    "Fix the projection; look for a division by a zero gradient; compute in "
    "float32.",
  ),
  Check(
    "One class alone",
    coverage.one_class_alone,
    Severity.FATAL,
    "All examples of a part of the data are of one class: a network that "
    "always names it is right on all of them, and robust.",
    "Prepare the data again, with prepare_data, which mixes the classes; take "
    "more examples.",
  ),
  Check(
    "Tuned on the reported examples",
    criteria.tuned_on_the_reported,
    Severity.FATAL,
    "Hyper-parameters of the attack were chosen on examples that are reported.",
    "Choose them on a held-out split.",
  ),
  Check(
    "Normalisation statistics changed",
    criteria.statistics_moved,
    Severity.FATAL,
    "The attack ran the network in train mode: it attacked a moving target.",
    "Run the network with frozen statistics (train=False).",
  ),
  Check(
    "Evaluated below float32",
    criteria.products_rounded,
    Severity.SERIOUS,
    "Convolutions and products of matrices were rounded to fewer bits than "
    "float32 has: attacks followed, and met, another network than the one "
    "reported, and small changes of an input were lost.",
    "Evaluate in float32: unset jax_default_matmul_precision, or set it to "
    "'highest'; build the network with models.at_precision(network, "
    "'float32').",
  ),
  Check(
    "A gradient-free attack beats the white box",
    criteria.gradient_free_beats_white_box,
    Severity.SERIOUS,
    "Random, black-box or transferred inputs break examples that the gradient "
    "does not: the gradient is masked.",
    "Attack under more backward rules and sharpnesses, with more steps and "
    "restarts; report the worst case, the gradient-free attack included.",
  ),
  Check(
    "One step beats many",
    criteria.one_step_beats_many,
    Severity.SERIOUS,
    "Iterating makes the attack weaker: the gradients along the way mislead.",
    "Use a smaller step size, another backward rule or a smoother surrogate, "
    "and a random start.",
  ),
  Check(
    "Gradients are exactly zero",
    criteria.gradients_vanish,
    Severity.SERIOUS,
    "The attack cannot move on, from the clean input, from a random start or "
    "on its way; examples look robust because the gradient vanished (dead "
    "neurons, a narrow surrogate, saturation, rounding).",
    "Use a surrogate with wide support (atan), a margin loss, a random start "
    "and a gradient-free attack.",
  ),
  Check(
    "One rule alone is much weaker than all",
    criteria.own_rule_is_weak,
    Severity.SERIOUS,
    "The gradient of a single backward rule hides much of the vulnerability.",
    "Report the per-example worst case over all rules.",
  ),
  Check(
    "The gradient points elsewhere",
    criteria.gradient_points_elsewhere,
    Severity.SERIOUS,
    "At the clean input, around it or on the attack's way, the gradient has "
    "little to do with the loss as it really is.",
    "Search the surrogate and its sharpness on a held-out split; add a "
    "gradient-free attack.",
  ),
  Check(
    "Accuracy survives any epsilon",
    criteria.survives_any_epsilon,
    Severity.SERIOUS,
    "With half the range to move in, every input can be turned grey; an "
    "attack that does not get to chance does not work.",
    "Check the loss, the step size and the gradient of the attack.",
  ),
  Check(
    "Accuracy rises with epsilon",
    criteria.accuracy_rises,
    Severity.SERIOUS,
    "A larger ball holds the smaller one: the attack failed to use the room.",
    "Scale the step size with epsilon, add steps and restarts.",
  ),
  Check(
    "Classes are missing",
    coverage.classes_missing,
    Severity.SERIOUS,
    "A part of the data has no example of some class: the numbers are about "
    "an easier problem than the data set's.",
    "Take more examples, or prepare the data again from all files.",
  ),
  Check(
    "The attack has not converged",
    criteria.steps_not_converged,
    Severity.SERIOUS,
    "Twice the steps change the accuracy.",
    "Double the steps until the accuracy no longer changes.",
  ),
  Check(
    "Too few restarts",
    criteria.too_few_restarts,
    Severity.SERIOUS,
    "The result depends on the random start.",
    "Attack with ten restarts and take the worst case per example.",
  ),
  Check(
    "Losses disagree",
    criteria.losses_disagree,
    Severity.SERIOUS,
    "Another loss breaks more examples than the one reported.",
    "Report the per-example worst case over the losses.",
  ),
  Check(
    "Too few draws",
    criteria.too_few_draws,
    Severity.SERIOUS,
    "The average over random encodings has not settled.",
    "Average the gradient over more draws until the accuracy is stable.",
  ),
  Check(
    "The batch matters",
    criteria.batch_matters,
    Severity.SERIOUS,
    "An example fares differently alone than among others: the network or "
    "the rule mixes the examples of a batch.",
    "Freeze the normalisation; report the batch size with rules, such as "
    "PDSG, that depend on it.",
  ),
  Check(
    "Two forward passes differ",
    criteria.forwards_differ,
    Severity.CAUTION,
    "The network is random: one draw of its gradient is noise, and an example "
    "may be broken by chance.",
    "Attack the average over draws (EOT) and judge over several draws.",
  ),
  Check(
    "The attack's claims are contradicted",
    criteria.claims_disagree,
    Severity.CAUTION,
    "The attack optimised another function than the network that is judged.",
    "Give the attack the same logits; with a random network, see above.",
  ),
)
