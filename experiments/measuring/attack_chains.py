"""The attacks that a protocol asks for, by path, for an evaluation."""

from collections.abc import Callable, Mapping, Sequence

from experiments.building import build
from experiments.configuration.study import Step
from experiments.measuring.named_arrays import BESIDE, CLEAN
from experiments.measuring.subject import Subject
from snnjax.attacks.rule_suites import SuiteAttack, with_defaults
from snnjax.evaluation import Plan, View, many_rules, planning
from snnjax.evaluation.planning import Case
from snnjax.evaluation.steps import Builder

# By path, an attack at one radius in all modalities, and its norm.
Cases = Mapping[str, tuple[Case, str]]


def chain(
  subject: Subject, norm: str, level: int
) -> dict[str, tuple[Case, str]]:
  """Returns the attacks of a norm at one radius, in their order."""
  return _cases(subject, subject.protocol.chains[norm], norm, level)


def stronger(subject: Subject, norm: str) -> dict[str, tuple[Case, str]]:
  """Returns the attacks of a norm that cost more than its chain."""
  protocol = subject.protocol
  return _cases(subject, protocol.stronger[norm], norm, protocol.level)


def _cases(
  subject: Subject, steps: Sequence[Step], norm: str, level: int
) -> dict[str, tuple[Case, str]]:
  cases = [_case(subject, of_step(step), norm, level) for step in steps]
  return {f"{norm}/{case.path}": (case, norm) for case in cases}


def of_step(step: Step) -> SuiteAttack:
  """Returns one attack of a chain, with all that the study does not say."""
  attack = SuiteAttack(step.kind, (step.rule,), step.name, loss=step.loss)
  return with_defaults(
    attack._replace(steps=step.steps, restarts=step.restarts)
  )


def _case(subject: Subject, attack: SuiteAttack, norm: str, level: int) -> Case:
  radius = float(subject.radii[norm][level])
  radii = dict.fromkeys(subject.member.modalities, radius)
  target = planning.EVERYTHING if len(radii) > 1 else next(iter(radii))
  cell = planning.Cell(norm, target, level, radii)
  return planning.case_of(cell, attack, [norm])


def beside(subject: Subject) -> dict[str, tuple[Case, str]]:
  """Returns the attacks that only the claims ask for: weak ones, and chance.

  Weak: one step, or ten, under the training rule alone. Chance: uniform noise
  in the ball at the radius of the measurement and at the largest one.
  """
  own, level = subject.member.config.model.rule, subject.protocol.level
  weak = {
    "fgsm": SuiteAttack("fgsm", (own,), "fgsm"),
    "pgd10": SuiteAttack("pgd", (own,), "pgd10", steps=10),
  }
  cases = {
    f"single/{name}": _case(subject, with_defaults(attack), BESIDE, level)
    for name, attack in weak.items()
  }
  chance = with_defaults(
    SuiteAttack("random", (own,)),
    random_draws=subject.protocol.random_draws,
  )
  for position in sorted({level, len(subject.radii[BESIDE]) - 1}):
    path = f"random/{BESIDE}/{position}"
    cases[path] = _case(subject, chance, BESIDE, position)
  return {path: (case, BESIDE) for path, case in cases.items()}


def builders(subject: Subject, wanted: Cases) -> dict[str, Builder]:
  """Returns attacks as `evaluation.stream` takes them, by path."""
  views = {
    rule: View(subject.bound(rule), random=False)
    for rule in subject.programs.logits
  }
  result = {}
  for path, (case, norm) in wanted.items():
    plan = Plan((case.attack,), (case.cell,), (case,), {})
    built = many_rules.builders(
      plan, views, {norm: build.THREATS[norm]}, subject.batch.inputs, {}
    )
    (result[path],) = built.values()
  return result


def tell_stages(
  subject: Subject, stages: Sequence[str]
) -> Callable[[int, int, str], None]:
  """Returns the progress callback of an evaluation, counted over its stages."""
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
