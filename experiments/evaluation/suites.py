"""Suites of attacks: which ones an evaluation runs, on what, in which order.

A suite is a file whose ``get_config()`` returns a sequence of mappings such as
``{"kind": "apgd", "loss": "dlr", "rules": ("own",)}``, run in their order.
``--suite=NAME`` takes one of `experiments/configs/suites`, or the path of
another; ``NAME:TEXT`` hands a text to its `get_config`. The keys of an attack:

    name      of its rows in the report; the kind, if not given
    kind      which attack, a key of `attack_kinds.TABLE`
    rules     backward rules, one attack each: names of `build.rule`,
              "assg_SURROGATE", "own" (the network's) or "configured"
              (``config.evaluation.rules``); ("own",), if not given
    mix       "each" rule on its own, their "gradient_mean", or "worst_of"
              them per example as one attack
    loss      what is ascended
    steps     gradient steps, queries or draws
    restarts  runs from random starts, the worst per example
    draws     of a random encoder that each gradient averages
    meets     "all" examples, or "survivors" of the attacks before it on the
              same target at the same radius
    targets   modalities or "both", all of them at once; () is each of these
    levels    positions of radii, negative ones from the largest; () is all
    options   what else the kind takes
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.building import build
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.configuration.settings import UsageError
from experiments.evaluation import attack_kinds
from snnjax.storage import workdir

FOLDER = settings.FOLDER / "suites"
MEETS = ("all", "survivors")
MIXES = ("each", "gradient_mean", "worst_of")
OWN, CONFIGURED = "own", "configured"
_NAME = re.compile(r"[a-z0-9_]+")
_TARGETS = (*schema.MODALITIES, schema.JOINT)
_MOST = 2**31 - 1  # of a count


class Spec(NamedTuple):
  """One attack of a suite, checked, with its defaults; see the module."""

  name: str
  kind: str
  rules: tuple[str, ...]
  mix: str = "each"
  loss: str = ""
  steps: int = 0
  restarts: int = 1
  draws: int = 1
  meets: str = "all"
  targets: tuple[str, ...] = ()
  levels: tuple[int, ...] = ()
  options: Mapping[str, Any] = MappingProxyType({})


class Attack(NamedTuple):
  """One attack as it is run: under one rule, or a mixture of rules.

  Attributes:
    name: of the suite's attack, with the rule behind it where the suite has
      the attack under several.
    spec: the suite's attack.
    rules: one, or those that are mixed.
  """

  name: str
  spec: Spec
  rules: tuple[str, ...]


def resolved(config: Config) -> Config:
  """Returns the configuration with ``evaluation.attacks``: all the suite says.

  Args:
    config: the whole configuration; ``evaluation.suite`` names the suite.

  Raises:
    UsageError: there is no such suite, or it asks for what is not allowed.
  """
  # By name, so that what has changed is told by name too.
  attacks = {
    spec.name: {"position": position, **_said(spec)}
    for position, spec in enumerate(_read(config, config.evaluation.suite), 1)
  }
  evaluation = dataclasses.replace(config.evaluation, attacks=attacks)
  return dataclasses.replace(config, evaluation=evaluation)


def check_recorded(config: Config, where: str) -> None:
  """Raises unless the attacks that a file holds are what `resolved` writes.

  Args:
    config: a whole configuration that may have come from somebody else.
    where: the file, for the message.

  Raises:
    UsageError: they are not.
  """
  attacks = config.evaluation.attacks
  if not isinstance(attacks, Mapping):
    raise UsageError(f"{where}: evaluation.attacks must be a group of attacks")
  for name, said in attacks.items():
    place = f"{where}, attack {settings.shown(name)}"
    if not isinstance(said, Mapping):
      raise UsageError(f"{place} must be a group; got {settings.shown(said)}")
    values = dict(said)
    if type(values.pop("position", None)) is not int:
      raise UsageError(f"{place}: position must be a whole number")
    _spec(config, {**values, "name": name}, place)


def _said(spec: Spec) -> dict[str, Any]:
  """What a specification says beyond its name and the defaults."""
  silent = {"name": spec.name, **Spec._field_defaults}
  return {
    key: dict(value) if isinstance(value, Mapping) else value
    for key, value in spec._asdict().items()
    if key not in silent or value != silent[key]
  }


def title(config: Config) -> str:
  """Returns the name of the configured suite, fit for a folder's."""
  return title_of(config.evaluation.suite)


def title_of(suite: str) -> str:
  """Returns the name of a suite, as ``evaluation.suite`` has it, for a folder.

  Args:
    suite: a name, or a file's path, with or without a text behind it.
  """
  spelt = suite.partition(":")[0]
  return re.sub(r"[^\w.-]", "-", spelt.rpartition("/")[2].removesuffix(".py"))


def plan(config: Config) -> list[Attack]:
  """Returns the attacks of a resolved configuration, in their order."""
  specs = []
  for name, said in config.evaluation.attacks.items():
    values = dict(said)
    specs.append((values.pop("position"), Spec(name, **values)))
  found = []
  for _, spec in sorted(specs, key=lambda pair: pair[0]):
    if spec.mix != "each" or len(spec.rules) == 1:
      found.append(Attack(spec.name, spec, spec.rules))
      continue
    found += [
      Attack(f"{spec.name}/{rule}", spec, (rule,)) for rule in spec.rules
    ]
  return found


def transferred(config: Config) -> tuple[str, ...]:
  """Returns the folders of the networks that attacks transfer from.

  Args:
    config: the whole configuration, its suite resolved.
  """
  runs = (run for a in plan(config) for run in a.spec.options.get("runs", ()))
  return tuple(dict.fromkeys(runs))


def alone(planned: Sequence[Attack]) -> list[str]:
  """Returns PGD under single rules on all examples, by which rules compare."""
  return [
    attack.name
    for attack in planned
    if attack.spec.kind == "pgd"
    and attack.spec.meets == "all"
    and len(attack.rules) == 1
  ]


def depend_on_batch(
  config: Config, planned: Sequence[Attack]
) -> tuple[str, ...]:
  """Returns the attacks whose results depend on the batch they are run in.

  They follow a gradient that takes statistics of all examples of a batch: of
  the network under a rule such as PDSG, or of another network that was trained
  by such a rule and that they transfer from.

  Args:
    config: the whole configuration.
    planned: the attacks.

  Raises:
    OSError: a network's folder has no configuration.
  """

  def mixes(attack: Attack) -> bool:
    if attack.spec.kind == "transfer":
      others = [
        settings.from_dict(workdir.read_config(pathlib.Path(run)))
        for run in attack.spec.options["runs"]
      ]
      return any(build.depends_on_batch(o, o.model.rule) for o in others)
    if attack.spec.kind in attack_kinds.GRADIENT_FREE:
      return False
    return any(build.depends_on_batch(config, rule) for rule in attack.rules)

  return tuple(attack.name for attack in planned if mixes(attack))


def _read(config: Config, name: str) -> list[Spec]:
  spelt, colon, text = name.partition(":")
  known = sorted(p.stem for p in FOLDER.glob("[!_]*.py"))
  if spelt in known:
    spelt = str(FOLDER / f"{spelt}.py")
  elif not spelt.endswith(".py"):
    raise UsageError(
      f"evaluation.suite must be one of {known} or a .py file; got "
      f"{settings.shown(name)}"
    )
  suite = settings.returned(f"{spelt}{colon}{text}")
  where = f"suite {settings.shown(name)}"
  if not isinstance(suite, list | tuple):
    raise UsageError(
      f"{where} must be a sequence of attacks; got {settings.shown(suite)}"
    )
  specs = [
    _spec(config, attack, f"{where}, attack {number}")
    for number, attack in enumerate(suite, 1)
  ]
  names = [spec.name for spec in specs]
  twice = sorted({name for name in names if names.count(name) > 1})
  if not specs or twice:
    raise UsageError(
      f"{where}: attacks must be at least one, with names of their own; got "
      f"{twice or 'none'}{' twice' if twice else ''}"
    )
  return specs


def _spec(config: Config, given: Any, where: str) -> Spec:
  """Checks one attack of a suite and fills in its defaults."""
  if not isinstance(given, Mapping):
    raise UsageError(f"{where} must be a mapping; got {settings.shown(given)}")
  values = dict(given)
  name = values.get("name", values.get("kind"))
  where = f"{where} ({settings.shown(name)})"

  def refuse(key: str, got: Any, allowed: Any) -> UsageError:
    told = settings.shown(got)
    return UsageError(f"{where}: {key} must be {allowed}; got {told}")

  named = values.get("kind")
  kind = attack_kinds.TABLE.get(named) if isinstance(named, str) else None
  if kind is None:
    raise refuse("kind", named, _one_of(attack_kinds.TABLE))
  unknown = [key for key in values if key not in Spec._fields]
  if unknown:
    raise refuse("its keys", unknown, f"among {list(Spec._fields)}")
  if not isinstance(name, str) or not _NAME.fullmatch(name):
    raise refuse("name", name, "lower-case letters, digits and _")
  counts = {
    "steps": config.evaluation.steps,
    "random_draws": config.evaluation.random_draws,
  }
  steps = counts[kind.steps] if isinstance(kind.steps, str) else kind.steps
  spec = Spec(
    name=name,
    kind=str(named),
    rules=_rules(config, values.get("rules", (OWN,)), refuse),
    mix=values.get("mix", "each"),
    loss=values.get("loss", kind.losses[0] if kind.losses else ""),
    steps=values.get("steps", steps or 0),
    restarts=values.get("restarts", 1),
    draws=values.get("draws", 1),
    meets=values.get("meets", "all"),
    targets=_tuple("targets", values.get("targets", ()), refuse),
    levels=_tuple("levels", values.get("levels", ()), refuse),
    options=_options(kind, values.get("options", {}), refuse),
  )
  _check(kind, spec, refuse)
  return spec


def _check(kind: attack_kinds.Kind, spec: Spec, refuse: Any) -> None:
  """Raises where a checked attack's values do not fit its kind."""
  for key, value, allowed in (
    ("mix", spec.mix, MIXES),
    ("meets", spec.meets, MEETS),
    ("loss", spec.loss, kind.losses or ("",)),
    *(("targets", target, _TARGETS) for target in spec.targets),
  ):
    if not isinstance(value, str) or value not in allowed:
      raise refuse(key, value, _one_of(allowed))
  least = 0 if kind.steps is None else 1
  for name, number, low in (
    ("steps", spec.steps, least),
    ("restarts", spec.restarts, 1),
    ("draws", spec.draws, 1),
    *(("levels", level, None) for level in spec.levels),
  ):
    if type(number) is not int:
      raise refuse(name, number, "a whole number")
    if low is not None and number < low:
      raise refuse(name, number, f"at least {low}")
    if abs(number) > _MOST:
      raise refuse(name, number, f"at most {_MOST}")
  if kind.steps is None and spec.steps:
    raise refuse("steps", spec.steps, f"absent for {spec.kind}")
  if not kind.restarts and spec.restarts != 1:
    raise refuse("restarts", spec.restarts, f"1 for {spec.kind}")
  if kind.oracle:
    return
  adaptive = [rule for rule in spec.rules if rule in build.ADAPTIVE]
  if adaptive:
    raise refuse("rules", adaptive, f"rules that do not adapt for {spec.kind}")
  if spec.mix == "gradient_mean":
    raise refuse("mix", spec.mix, f"'each' or 'worst_of' for {spec.kind}")
  if spec.draws != 1 and spec.kind != "apgd_t":
    raise refuse("draws", spec.draws, f"1 for {spec.kind}")


def _rules(config: Config, given: Any, refuse: Any) -> tuple[str, ...]:
  words = {
    OWN: (config.model.rule,),
    CONFIGURED: tuple(config.evaluation.rules),
  }
  names: list[str] = []
  for word in _tuple("rules", given, refuse):
    if not isinstance(word, str):
      raise refuse("rules", word, "names")
    names += words.get(word, (word,))
  known = build.rule_names(config)
  for name in names:
    if name not in known:
      raise refuse("rules", name, _one_of((*words, *known)))
  if not names:
    raise refuse("rules", given, "at least one")
  return tuple(dict.fromkeys(names))


def _options(
  kind: attack_kinds.Kind, given: Any, refuse: Any
) -> dict[str, Any]:
  if not isinstance(given, Mapping):
    raise refuse("options", given, "a mapping")
  unknown = [key for key in given if key not in kind.options]
  if unknown:
    raise refuse("options", unknown, _one_of(kind.options))
  options = dict(kind.options) | dict(given)
  for key, value in options.items():
    default = kind.options[key]
    fits = type(value) is type(default)
    if isinstance(value, int | float):
      fits &= 0 < value <= _MOST
    elif isinstance(value, tuple):
      fits &= all(isinstance(name, str) for name in value)
    if not fits:
      wanted = {int: "a count above 0", float: "a number above 0"}
      raise refuse(
        f"options.{key}", value, wanted.get(type(default), "a tuple of names")
      )
  return options


def _tuple(key: str, given: Any, refuse: Any) -> tuple:
  if isinstance(given, str) or not isinstance(given, Sequence):
    raise refuse(key, given, "a tuple")
  return tuple(given)


def _one_of(names: Any) -> str:
  listed = ", ".join(repr(name) for name in names)
  return f"one of {listed}" if listed else "empty"
