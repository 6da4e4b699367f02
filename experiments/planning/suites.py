"""Suites of attacks: which ones an evaluation runs, on what, in which order.

A suite is a file whose ``get_config()`` returns a sequence of mappings such as
``{"kind": "apgd", "loss": "dlr", "rules": ("own",)}``, run in their order.
``--suite=NAME`` takes one of `experiments/configs/suites`, or the path of
another; ``NAME:TEXT`` hands a text to its `get_config`. The keys of an attack:

    name      of its rows in the report; the kind, if not given
    kind      which attack, a key of `snnjax.attacks.kinds.KINDS`
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
    norms     it is for, and not asked under others; () is every one that its
              kind has a form for
    options   what else the kind takes
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.building import build
from experiments.command.exits import UsageError
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from snnjax.attacks import SuiteAttack, SuiteError, rule_suites
from snnjax.attacks.kinds import GRADIENT_FREE, KINDS
from snnjax.evaluation.planning import EVERYTHING
from snnjax.storage import workdir

FOLDER = settings.FOLDER / "suites"
OWN, CONFIGURED = "own", "configured"
_NAME = re.compile(r"[a-z0-9_]+")
_TARGETS = (*schema.MODALITIES, EVERYTHING)


def resolved(config: Config) -> Config:
  """Returns the configuration with ``evaluation.attacks``: all the suite says.

  Args:
    config: the whole configuration; ``evaluation.suite`` names the suite.

  Raises:
    UsageError: there is no such suite, it asks for what is not allowed, or
      nothing of it is for the norms of the evaluation.
  """
  name, norms = config.evaluation.suite, config.evaluation.norms
  suite = [
    attack
    for attack in _read(config, name)
    if not attack.norms or set(attack.norms) & set(norms)
  ]
  if not suite:
    raise UsageError(
      f"suite {settings.shown(name)} must have an attack for one of "
      f"evaluation.norms, {','.join(norms)}; got none"
    )
  # By name, so that what has changed is told by name too.
  attacks = {
    attack.name: {"position": position, **_recorded(attack)}
    for position, attack in enumerate(suite, 1)
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
    _attack(config, {**values, "name": name}, place)


def mappings(suite: Sequence[SuiteAttack]) -> tuple[dict[str, Any], ...]:
  """Returns a suite as a configuration file has it, defaults left out."""
  return tuple(
    {"name": each.name or each.kind, **_recorded(each)} for each in suite
  )


def _recorded(attack: SuiteAttack) -> dict[str, Any]:
  """What an attack says beyond its name and the defaults."""
  silent = {**SuiteAttack._field_defaults, "name": attack.name}
  return {
    key: dict(value) if isinstance(value, Mapping) else value
    for key, value in attack._asdict().items()
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


def attacks_of(config: Config) -> tuple[SuiteAttack, ...]:
  """Returns the attacks of a resolved configuration as they are run.

  Args:
    config: the whole configuration, its suite resolved.
  """
  attacks = []
  for name, said in config.evaluation.attacks.items():
    values = dict(said)
    attacks.append((values.pop("position"), SuiteAttack(name=name, **values)))
  ordered = sorted(attacks, key=lambda pair: pair[0])
  return rule_suites.expand_rules(attack for _, attack in ordered)


def transferred(config: Config) -> tuple[str, ...]:
  """Returns the folders of the networks that attacks transfer from.

  Args:
    config: the whole configuration, its suite resolved.
  """
  attacks = attacks_of(config)
  runs = (run for a in attacks for run in a.options.get("runs", ()))
  return tuple(dict.fromkeys(runs))


def depend_on_batch(
  config: Config, attacks: Sequence[SuiteAttack]
) -> tuple[str, ...]:
  """Returns the attacks whose results depend on the batch they are run in.

  They follow a gradient that takes statistics of all examples of a batch: of
  the network under a rule such as PDSG, or of another network that was trained
  by such a rule and that they transfer from.

  Args:
    config: the whole configuration.
    attacks: as they are run.

  Raises:
    OSError: a network's folder has no configuration.
  """

  def mixes(attack: SuiteAttack) -> bool:
    if attack.kind == "transfer":
      others = [
        settings.from_dict(workdir.read_config(pathlib.Path(run)))
        for run in attack.options["runs"]
      ]
      return any(build.depends_on_batch(o, o.model.rule) for o in others)
    if attack.kind in GRADIENT_FREE:
      return False
    return any(build.depends_on_batch(config, rule) for rule in attack.rules)

  return tuple(attack.name for attack in attacks if mixes(attack))


def _read(config: Config, name: str) -> list[SuiteAttack]:
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
  attacks = [
    _attack(config, attack, f"{where}, attack {number}")
    for number, attack in enumerate(suite, 1)
  ]
  names = [attack.name for attack in attacks]
  twice = sorted({name for name in names if names.count(name) > 1})
  if not attacks or twice:
    raise UsageError(
      f"{where}: attacks must be at least one, with names of their own; got "
      f"{twice or 'none'}{' twice' if twice else ''}"
    )
  return attacks


def _attack(config: Config, values: Any, where: str) -> SuiteAttack:
  """Checks one attack of a suite and fills in its defaults."""
  if not isinstance(values, Mapping):
    raise UsageError(f"{where} must be a mapping; got {settings.shown(values)}")
  whole = dict(values)
  kind = whole.get("kind")
  name = whole.setdefault("name", kind)
  try:
    if not isinstance(kind, str) or kind not in KINDS:
      raise SuiteError("kind", kind, _one_of(KINDS))
    unknown = [key for key in whole if key not in SuiteAttack._fields]
    if unknown:
      allowed = f"among {list(SuiteAttack._fields)}"
      raise SuiteError("its keys", unknown, allowed)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
      raise SuiteError("name", name, "lower-case letters, digits and _")
    whole["rules"] = _rules(config, whole.get("rules", (OWN,)))
    attack = rule_suites.with_defaults(
      SuiteAttack(**whole),
      steps=config.evaluation.steps,
      random_draws=config.evaluation.random_draws,
      adaptive=build.ADAPTIVE,
    )
    for target in attack.targets:
      if target not in _TARGETS:
        raise SuiteError("targets", target, _one_of(_TARGETS))
    for norm in attack.norms:
      if norm not in schema.NORMS:
        raise SuiteError("norms", norm, _one_of(schema.NORMS))
  except SuiteError as error:
    raise UsageError(
      f"{where} ({settings.shown(name)}): {error.key} must be {error.allowed}; "
      f"got {settings.shown(error.got)}"
    ) from None
  return attack


def _rules(config: Config, words: Any) -> tuple[str, ...]:
  """The names of rules, `OWN` and `CONFIGURED` among them replaced."""
  if isinstance(words, str) or not isinstance(words, Sequence):
    raise SuiteError("rules", words, "a tuple")
  replaced = {
    OWN: (config.model.rule,),
    CONFIGURED: tuple(config.evaluation.rules),
  }
  known = build.rule_names(config)
  names: list[str] = []
  for word in words:
    if not isinstance(word, str):
      raise SuiteError("rules", word, "names")
    names += replaced.get(word, (word,))
  for name in names:
    if name not in known:
      raise SuiteError("rules", name, _one_of((*replaced, *known)))
  return tuple(dict.fromkeys(names))


def _one_of(names: Any) -> str:
  return f"one of {', '.join(repr(name) for name in names)}"
