"""Suites of attacks on one network under several backward rules.

A surrogate gradient is a choice, and a network that withstands one may fall to
the next: an attack of a suite names the rules that it follows. A suite is a
sequence of `SuiteAttack`, run in their order by `evaluation.evaluate_suite`;
`quick_suite` and `standard_suite` make two.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from snnjax.attacks.kinds import KINDS, Kind

MEETS = ("all", "survivors")
MIXES = ("each", "gradient_mean", "worst_of")
_MOST = 2**31 - 1  # of a count
_L0 = ("l0",)


class SuiteError(ValueError):
  """A value of a suite's attack is not allowed.

  Attributes:
    key: of the attack.
    got: what came.
    allowed: what is allowed, in words.
  """

  def __init__(self, key: str, got: Any, allowed: str) -> None:
    super().__init__(f"{key} must be {allowed}; got {got!r}")
    self.key, self.got, self.allowed = key, got, allowed


class SuiteAttack(NamedTuple):
  """One attack of a suite.

  Attributes:
    kind: which attack, a key of `kinds.KINDS`.
    rules: names of backward rules.
    name: what its results are called; the kind, if empty.
    mix: "each" rule on its own, their "gradient_mean", or "worst_of" them per
      example as one attack.
    loss: what is ascended; the kind's first, if empty.
    steps: gradient steps, queries or draws; the kind's default, if None.
    restarts: runs from random starts, the worst per example.
    draws: how many draws of a random encoder each gradient averages.
    meets: "all" examples, or "survivors" of the attacks before it on the same
      target at the same radius.
    targets: modalities or "both"; () is all of them.
    levels: positions of radii, negative ones from the largest; () is all.
    norms: names of the norms that it is for; it is not asked under another.
      () is every norm that its kind has a form for.
    options: what else the kind takes.
  """

  kind: str
  rules: tuple[str, ...]
  name: str = ""
  mix: str = "each"
  loss: str = ""
  steps: int | None = None
  restarts: int = 1
  draws: int = 1
  meets: str = "all"
  targets: tuple[str, ...] = ()
  levels: tuple[int, ...] = ()
  norms: tuple[str, ...] = ()
  options: Mapping[str, Any] = MappingProxyType({})


def quick_suite(
  rules: Iterable[str], trained_rule: str | None = None
) -> tuple[SuiteAttack, ...]:
  """Returns PGD under every rule, FGSM and noise, all on every example.

  Where sites are counted, sPGD is there for PGD and FGSM.

  Args:
    rules: names of backward rules.
    trained_rule: name of the rule that the network was trained by; the first
      by default.
  """
  every = tuple(rules)
  first = (trained_rule or every[0],)
  return (
    SuiteAttack("pgd", every),
    SuiteAttack("fgsm", first),
    SuiteAttack("random", first),
    SuiteAttack("spgd", every, norms=_L0),
  )


def standard_suite(
  rules: Iterable[str],
  trained_rule: str | None = None,
  adaptive: str | None = None,
) -> tuple[SuiteAttack, ...]:
  """Returns what a robust accuracy should have withstood.

  PGD under every rule, FGSM and noise meet all examples, so that one rule
  alone can be compared with the worst of them. The stronger attacks, cheap
  ones first, meet what those left correct, with more steps: SA-PGD, Auto-PGD
  on three losses, FAB, PGD along the mean gradient of two rules, and Square at
  the largest radius. Where sites are counted, sPGD is there for PGD, and
  later both forms of sPGD, PGD-l0, sigma-zero and Sparse-RS.

  Args:
    rules: names of backward rules.
    trained_rule: name of the rule that the network was trained by; the first
      by default.
    adaptive: name of a rule that adapts to the attack, such as ASSG
      (`snnjax.backward.assg.assg`); without one, `trained_rule` takes
      its place.
  """
  every = tuple(rules)
  trained_rule = trained_rule or every[0]
  strong = adaptive or trained_rule
  later = (
    SuiteAttack("sa_pgd", (strong,), steps=50),
    SuiteAttack("apgd", (trained_rule,), "apgd_ce", steps=50),
    SuiteAttack("fab_t", (trained_rule,), steps=10, options={"rivals": 3}),
    SuiteAttack(
      "pgd",
      tuple(dict.fromkeys((trained_rule, strong))),
      "pgd_mean",
      "gradient_mean",
      loss="margin",
    ),
    SuiteAttack(
      "apgd", (strong,), "apgd_dlr", loss="dlr", steps=50, restarts=2
    ),
    SuiteAttack("apgd_t", (trained_rule,), steps=50, options={"rivals": 3}),
    SuiteAttack("square", (trained_rule,), steps=1000, levels=(-1,)),
    SuiteAttack(
      "spgd", (strong,), "spgd_margin", loss="margin", steps=50, norms=_L0
    ),
    SuiteAttack("spgd_unprojected", (trained_rule,), steps=50, norms=_L0),
    SuiteAttack("pgd_l0", (strong,), steps=50, norms=_L0),
    SuiteAttack("sigma_zero", (trained_rule,), norms=_L0),
    SuiteAttack("sparse_rs", (trained_rule,), steps=1000, norms=_L0),
  )
  return (
    *quick_suite(dict.fromkeys((*every, strong)), trained_rule),
    *(attack._replace(meets="survivors") for attack in later),
  )


def with_defaults(
  attack: SuiteAttack,
  *,
  steps: int = 20,
  random_draws: int = 10,
  adaptive: Collection[str] = (),
) -> SuiteAttack:
  """Returns an attack with its defaults filled in and its values checked.

  Args:
    attack: of a suite.
    steps: the number of steps of kinds that take the suite's.
    random_draws: the number of draws of random noise.
    adaptive: names of the rules that adapt to the attack.

  Raises:
    SuiteError: a value is not allowed.
  """
  kind = KINDS.get(attack.kind) if isinstance(attack.kind, str) else None
  if kind is None:
    raise SuiteError("kind", attack.kind, _one_of(KINDS))
  numbers = {"steps": steps, "random_draws": random_draws}
  usual = numbers[kind.steps] if isinstance(kind.steps, str) else kind.steps
  filled = attack._replace(
    # Only an empty text means the usual: any other empty value is an error.
    name=attack.kind if attack.name == "" else attack.name,
    rules=_tuple("rules", attack.rules),
    loss=kind.losses[0] if attack.loss == "" and kind.losses else attack.loss,
    steps=usual if attack.steps is None else attack.steps,
    targets=_tuple("targets", attack.targets),
    levels=_tuple("levels", attack.levels),
    norms=_tuple("norms", attack.norms),
    options=_options(kind, attack.options),
  )
  _check(kind, filled, adaptive)
  return filled


def expand_rules(suite: Iterable[SuiteAttack]) -> tuple[SuiteAttack, ...]:
  """Returns the attacks as they are run, each one program.

  An attack that runs under "each" of several rules becomes one attack per rule,
  with the rule behind its name: ``pgd/rga``.

  Args:
    suite: attacks from `with_defaults`, in their order.

  Raises:
    SuiteError: there is none, or two have the same name.
  """
  attacks: list[SuiteAttack] = []
  for attack in suite:
    if attack.mix != "each" or len(attack.rules) == 1:
      attacks.append(attack)
      continue
    attacks += [
      attack._replace(name=f"{attack.name}/{rule}", rules=(rule,))
      for rule in attack.rules
    ]
  names = [attack.name for attack in attacks]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice or not names:
    raise SuiteError("names", twice or names, "at least one, and all different")
  return tuple(attacks)


def _check(kind: Kind, attack: SuiteAttack, adaptive: Collection[str]) -> None:
  """Raises where an attack's values do not fit its kind."""
  if not isinstance(attack.name, str):
    raise SuiteError("name", attack.name, "text")
  for key, value, allowed in (
    ("mix", attack.mix, MIXES),
    ("meets", attack.meets, MEETS),
    ("loss", attack.loss, kind.losses or ("",)),
  ):
    if not isinstance(value, str) or value not in allowed:
      raise SuiteError(key, value, _one_of(allowed))
  for key, names in (
    ("rules", attack.rules),
    ("targets", attack.targets),
    ("norms", attack.norms),
  ):
    if not all(isinstance(name, str) for name in names):
      raise SuiteError(key, names, "names")
  if not attack.rules:
    raise SuiteError("rules", attack.rules, "at least one")
  if kind.steps is None and attack.steps is not None:
    raise SuiteError("steps", attack.steps, f"absent for {attack.kind}")
  for key, number, least in (
    *((("steps", attack.steps, 1),) if kind.steps is not None else ()),
    ("restarts", attack.restarts, 1),
    ("draws", attack.draws, 1),
    *(("levels", level, None) for level in attack.levels),
  ):
    if type(number) is not int:
      raise SuiteError(key, number, "a whole number")
    if least is not None and number < least:
      raise SuiteError(key, number, f"at least {least}")
    if abs(number) > _MOST:
      raise SuiteError(key, number, f"at most {_MOST}")
  if not kind.restarts and attack.restarts != 1:
    raise SuiteError("restarts", attack.restarts, f"1 for {attack.kind}")
  if kind.oracle:
    return
  adapting = [rule for rule in attack.rules if rule in adaptive]
  if adapting:
    allowed_rules = f"rules that do not adapt for {attack.kind}"
    raise SuiteError("rules", adapting, allowed_rules)
  if attack.mix == "gradient_mean":
    allowed_mix = f"'each' or 'worst_of' for {attack.kind}"
    raise SuiteError("mix", attack.mix, allowed_mix)
  if attack.draws != 1 and attack.kind != "apgd_t":
    raise SuiteError("draws", attack.draws, f"1 for {attack.kind}")


def _options(kind: Kind, options: Any) -> dict[str, Any]:
  if not isinstance(options, Mapping):
    raise SuiteError("options", options, "a mapping")
  unknown = [key for key in options if key not in kind.options]
  if unknown:
    raise SuiteError("options", unknown, _one_of(kind.options))
  filled = dict(kind.options) | dict(options)
  for key, value in filled.items():
    default = kind.options[key]
    fits = type(value) is type(default)
    if isinstance(value, int | float):
      fits &= 0 < value <= _MOST
    elif isinstance(value, tuple):
      fits &= all(isinstance(name, str) for name in value)
    if not fits:
      wanted = {int: "a count above 0", float: "a number above 0"}
      allowed = wanted.get(type(default), "a tuple of names")
      raise SuiteError(f"options.{key}", value, allowed)
  return filled


def _tuple(key: str, values: Any) -> tuple:
  if isinstance(values, str) or not isinstance(values, Sequence):
    raise SuiteError(key, values, "a tuple")
  return tuple(values)


def _one_of(names: Iterable[str]) -> str:
  listed = ", ".join(repr(name) for name in names)
  return f"one of {listed}" if listed else "empty"
