"""What a study asks: networks, attacks, measurements and decision rules.

A study is data: ``experiments/configs/studies/questions.py`` has the one of
this project, in three sizes, and ``--study=FILE.py`` takes another. An arm, a
data set, a set of modalities or a norm more is a line there.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from experiments.command.exits import UsageError
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from snnjax.storage import identity

Alternative = Literal["greater", "less", "two-sided"]
JOINT = "joint"  # the gradients of all modalities as one vector
MEASUREMENTS = ("gradients", "transfer", "stronger")


@dataclass(frozen=True, kw_only=True)
class Arm:
  """One way to train.

  Attributes:
    about: in words, for tables and figures.
    keys: of the configuration, dotted, that make the arm.
    data_keys: by data set, keys in place of these: where a constant was chosen
      for each of them.
  """

  about: str
  keys: Mapping[str, Any]
  data_keys: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )


@dataclass(frozen=True, kw_only=True)
class DataSet:
  """One data set, and how far its examples are moved.

  Attributes:
    about: said beside every number.
    keys: of the configuration.
    radii: modalities, joined by "+" -> norm -> rising radii, equal in every
      modality; under l0 numbers of sites. Chosen once, see `calibration`, so
      that a conventional network keeps about 60, 30 and 5 % of its test
      examples.
    test_examples: how many there are, of a data set that has fewer than the
      protocol measures; of it all are measured.
  """

  about: str
  keys: Mapping[str, Any]
  radii: Mapping[str, Mapping[str, tuple[float, ...]]]
  test_examples: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
  """One attack of a chain; each meets the survivors of those before it.

  Attributes:
    kind: a key of `snnjax.attacks.kinds.KINDS`.
    rule: the backward rule that it follows.
    loss: what it ascends; the kind's own where empty.
    steps: how many, or queries of a kind without a gradient.
    restarts: runs from random starts, the worst per example.
  """

  kind: str
  rule: str
  loss: str = ""
  steps: int = 20
  restarts: int = 1

  @property
  def name(self) -> str:
    """In paths and tables."""
    starts = f"{self.restarts}_starts" if self.restarts > 1 else ""
    return "_".join(filter(None, (self.kind, self.rule, self.loss, starts)))


@dataclass(frozen=True, kw_only=True)
class Protocol:
  """How a network is measured.

  Attributes:
    examples: test examples, of each class its share; see `examples`.
    microbatch: computed at once; changes no result.
    norms: of the attacks under which gradients are measured.
    chains: by norm, the attacks, the first under the training rule; attacks
      without a gradient name it too.
    level: position of the radius at which gradients are measured.
    rules: under which the gradients are measured, the training rule first.
    along: examples on which every step of the attack is measured.
    random_draws: samples of random noise.
    scales: shares of the radius at which first-order theory is tried.
    transfer_examples: examples, of the first, that all radii are tried on.
    transfer_norms: the norms of the transfer matrix.
    stronger_examples: examples, of the first, that `stronger` is tried on.
    stronger: by norm, attacks that cost more than a chain; each meets what the
      chain, and those before it, left at `level`.
  """

  examples: int
  microbatch: int
  norms: tuple[str, ...]
  chains: Mapping[str, tuple[Step, ...]]
  level: int
  rules: tuple[str, ...]
  along: int
  random_draws: int
  scales: tuple[float, ...]
  transfer_examples: int
  transfer_norms: tuple[str, ...]
  stronger_examples: int
  stronger: Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True, kw_only=True)
class Contrast:
  """Two arms compared over seeds, and what decides.

  Attributes:
    name: of it.
    claim: what is claimed, in words.
    treated: an arm.
    control: an arm.
    measure: what is compared, the path of a number; see `network_numbers`.
    unit: of it, in words.
    alternative: where the treated arm is claimed to be, "greater" or "less";
      "two-sided" is either.
    smallest_effect: the smallest difference that matters, positive, in the
      units of the measure.
    decides: whether the question's verdict rests on it; others are told
      beside.
    matched: the path of a number at equal values of which the arms are
      compared; "" compares them as they are.
    along: two arms: the difference of their measures over that of their
      numbers tells, seed by seed, what a unit of the number is worth.
    modalities: sets of modalities that it is asked of; () is all that there
      are networks of.
  """

  name: str
  claim: str
  treated: str
  control: str
  measure: str
  unit: str
  alternative: Alternative
  smallest_effect: float
  decides: bool = True
  matched: str = ""
  along: tuple[str, ...] = ()
  modalities: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
  """What of a question is asked of one more data set.

  Attributes:
    arms: arm -> how many seeds.
    modalities: sets of modalities.
  """

  arms: Mapping[str, int]
  modalities: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Question:
  """One of the two questions.

  Attributes:
    text: the question.
    arms: arm -> how many seeds, 0 to that number less one.
    modalities: sets of modalities.
    data: names of data sets.
    measurements: of every network, of `MEASUREMENTS`.
    contrasts: what is decided.
    alpha: the level at which, after Holm's correction over all contrasts,
      data sets and modalities that decide.
    deciding: the sets of modalities that the verdict is about.
    beside: by name of a data set that is not in `data`, what is asked of it; it
      is told beside, and decides nothing.
    stronger: arm -> how many of its seeds the protocol's `stronger` attacks are
      tried on too, where the verdict is about.
  """

  text: str
  arms: Mapping[str, int]
  modalities: tuple[tuple[str, ...], ...]
  data: tuple[str, ...]
  measurements: tuple[str, ...]
  contrasts: tuple[Contrast, ...]
  alpha: float
  deciding: tuple[tuple[str, ...], ...]
  beside: Mapping[str, Part] = dataclasses.field(default_factory=dict)
  stronger: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def parts(self) -> tuple[tuple[tuple[str, ...], Part], ...]:
    """What is asked of which data sets, those that decide first."""
    whole = Part(arms=self.arms, modalities=self.modalities)
    others = (((name,), part) for name, part in self.beside.items())
    return ((self.data, whole), *others)

  @property
  def seeds(self) -> int:
    """How many seeds there are of the arm that has most."""
    return max(n for _, part in self.parts for n in part.arms.values())


@dataclass(frozen=True, kw_only=True)
class Claim:
  """One claim of the ledger, and what decides it.

  Attributes:
    text: the claim, in words.
    source: who makes it.
    unit: of the number that decides, in words.
    smallest_effect: the smallest that matters, positive, in the unit.
    alternative: "greater", "less" or "two-sided": where the effect is.
    contrary: whether it is the contrary of the claim that has this effect:
      that something deviates, or fails. The claim is verified where the effect
      is refuted.
    arms: of a contrast, the treated and the control arm; of anything else, the
      arms whose networks are measured: their mean, seed by seed.
    modalities: the sets of modalities that decide; others are told beside.
    tolerance: of claims on first-order theory: the factor within which a
      squared change must agree with it where it is said to hold.
    alpha: the level at which, after Holm's correction over all contrasts of
      the ledger.
  """

  text: str
  source: str
  unit: str
  smallest_effect: float
  alternative: Alternative = "greater"
  contrary: bool = False
  arms: tuple[str, ...] = ()
  modalities: tuple[tuple[str, ...], ...] = ()
  tolerance: float = 1.0
  alpha: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Study:
  """All of it.

  Attributes:
    size: its name.
    base: the configuration that arms and data sets change.
    arms: by name.
    data: by name.
    protocol: how every network is measured.
    questions: by name.
    claims: of the ledger, by name; see `claim_ledger.EVIDENCE`.
  """

  size: str
  base: Config
  arms: Mapping[str, Arm]
  data: Mapping[str, DataSet]
  protocol: Protocol
  questions: Mapping[str, Question]
  claims: Mapping[str, Claim] = dataclasses.field(default_factory=dict)


class Member(NamedTuple):
  """One network of the pool.

  Attributes:
    data: name of its data set.
    modalities: what it sees.
    arm: how it is trained.
    seed: of weights, order and noise: equal over arms, which makes pairs.
    config: the whole configuration.
    digest: of what training reads of it.
    measurements: wanted of it.
  """

  data: str
  modalities: tuple[str, ...]
  arm: str
  seed: int
  config: Config
  digest: str
  measurements: tuple[str, ...]

  @property
  def inputs(self) -> str:
    """The modalities as one word."""
    return "+".join(self.modalities)

  @property
  def name(self) -> str:
    """Of its folders: who it is, and the digest that tells it from others."""
    who = f"{self.data}.{self.inputs}.{self.arm}.{self.seed}"
    return f"{who}.{identity.short(self.digest)}"

  @property
  def words(self) -> str:
    """Who it is, in a message."""
    return f"{self.arm} on {self.data} ({self.inputs}), seed {self.seed}"


def members(study: Study, question: str) -> list[Member]:
  """Returns the networks that a question needs, in the order to train them.

  All arms of a seed first, then the next seed: what is finished is a smaller
  study, never one half of the arms.

  Args:
    study: the study.
    question: the name of one of its questions.

  Raises:
    UsageError: an arm or data set is not there.
  """
  asked = study.questions[question]
  arms = [arm for _, part in asked.parts for arm in part.arms]
  for kind, names, there in (
    ("arms", arms, study.arms),
    ("data", (*asked.data, *asked.beside), study.data),
  ):
    for name in names:
      if name not in there:
        raise UsageError(
          f"questions[{question!r}].{kind} must be among {sorted(there)}; got "
          f"{name!r}"
        )
  return list(_members(study, asked))


def _members(study: Study, asked: Question) -> Iterator[Member]:
  for seed in range(asked.seeds):
    for names, part in asked.parts:
      for modalities, data, (arm, count) in itertools.product(
        part.modalities, names, part.arms.items()
      ):
        if seed < count:
          wanted = asked.measurements
          if data in asked.data and modalities in asked.deciding:
            wanted += ("stronger",) * (seed < asked.stronger.get(arm, 0))
          yield member(study, data, modalities, arm, seed, wanted)


def examples(study: Study, data: str) -> int:
  """Returns how many test examples of a data set are measured.

  Args:
    study: the study.
    data: name of the data set.
  """
  there = study.data[data].test_examples
  wanted = study.protocol.examples
  return wanted if there is None else min(there, wanted)


def member(
  study: Study,
  data: str,
  modalities: tuple[str, ...],
  arm: str,
  seed: int,
  measurements: tuple[str, ...] = MEASUREMENTS,
) -> Member:
  """Returns one network of a study.

  Args:
    study: the study.
    data: name of its data set.
    modalities: what it sees.
    arm: how it is trained.
    seed: its seed.
    measurements: wanted of it.
  """
  config = settings.replaced(
    study.base,
    {
      **study.data[data].keys,
      **study.arms[arm].keys,
      **study.arms[arm].data_keys.get(data, {}),
      "data.modalities": modalities,
      "data.test_examples": examples(study, data),
      "seed": seed,
    },
  )
  return Member(
    data, modalities, arm, seed, config, digest(config), measurements
  )


def training_keys(config: Config) -> dict[str, Any]:
  """Returns what training reads, where it is not the default, by dotted key.

  A key that is added to the schema later changes nothing in it, as long as its
  default is what was done before.

  Args:
    config: the whole configuration.
  """
  unread = (*schema.LATER, *schema.CHANGEABLE)
  default = settings.flatten(settings.to_dict(Config()))
  return {
    key: value
    for key, value in settings.flatten(settings.to_dict(config)).items()
    if not schema.covers(unread, key) and value != default.get(key)
  }


def digest(config: Config) -> str:
  """Returns the digest of `training_keys`."""
  return identity.of_value(training_keys(config))


def check_radii(study: Study, own: Member) -> Mapping[str, tuple[float, ...]]:
  """Returns the radii of a network's attacks, by norm.

  Raises:
    UsageError: the study has none for its data set and modalities, or lacks
      the radii or the attacks of a norm that is measured.
  """
  there = study.data[own.data].radii
  if own.inputs not in there:
    raise UsageError(
      f"data[{own.data!r}].radii must have {own.inputs!r}; got {sorted(there)}"
    )
  protocol, radii = study.protocol, there[own.inputs]
  for norm in norms(protocol, own.measurements):
    for key, table in (
      (f"data[{own.data!r}].radii[{own.inputs!r}]", radii),
      ("protocol.chains", protocol.chains),
    ):
      if norm not in table:
        raise UsageError(f"{key} must have {norm!r}; got {sorted(table)}")
  return radii


def norms(protocol: Protocol, measurements: Sequence[str]) -> tuple[str, ...]:
  """Returns the norms of the attacks of some measurements.

  Args:
    protocol: how networks are measured.
    measurements: of `MEASUREMENTS`.
  """
  read: Mapping[str, Iterable[str]] = {
    "gradients": protocol.norms,
    "transfer": protocol.transfer_norms,
    "stronger": protocol.stronger,
  }
  return tuple(dict.fromkeys(n for name in measurements for n in read[name]))
