"""The configuration: every key with its default, one line, what it may be.

The one place that the flags, ``--help``, the checks before a run and the
reading of a run's config.json look at. A configuration file returns a
`Config`; what it does not name has its default:

    def get_config() -> Config:
      return Config(data=Data(name="mnist"), train=Train(epochs=10))

A method has keys of its own beside ``method.name``, and so has a modality in
`Modalities`: a new one is a class here, and a row in the table that builds it.
Nothing heavy is imported: names of what the library builds are repeated here,
and a test compares them with those tables.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from experiments.configuration.allowed import (
  Allowed,
  Flag,
  Listed,
  Number,
  OneOf,
  Text,
)


class Key(NamedTuple):
  """What is said of a key where it is declared.

  Attributes:
    about: one line.
    allowed: its values.
  """

  about: str
  allowed: Allowed


class Known(NamedTuple):
  """All that is known of a key.

  Attributes:
    about: one line.
    allowed: its values.
    kind: bool, int, float or str.
    listed: whether its value is a tuple of that kind.
  """

  about: str
  allowed: Allowed
  kind: type
  listed: bool


SURROGATES = (
  "triangle",
  "atan",
  "sigmoid",
  "fast_sigmoid",
  "gaussian",
  "rectangle",
)
RULES = (
  "bptr",
  "rga",
  "pdsg",
  "straight_through",
  *(f"{kind}_{name}" for kind in ("bptt", "hart") for name in SURROGATES),
)
# Rules that remember what they attacked: for attacks, not for training.
ADAPTIVE_RULES = tuple(
  f"assg_{name}" for name in SURROGATES if name != "fast_sigmoid"
)
DENSE_NORMS = ("linf", "l2", "l1")
NORMS = (*DENSE_NORMS, "l0")
SUITES = ("full", "quick", "standard")
METHODS = ("vanilla", "sr", "hire", "adversarial", "sr_adversarial")
# How exactly products are computed; see `snnjax.precision`.
PRECISIONS = ("float32", "tf32", "bfloat16")
# How neurons' scans are computed; see `snnjax.kernels.scan`.
KERNELS = ("auto", "fused", "scan")
SEEDS = Number(0, 2**32 - 1, whole=True)
_SOME = Number(1, whole=True)
_ANY = Number(0, whole=True)
_SIZE = Number(0)
_SHARE = Number(0, 1)
_POSITIVE = Number(0, above=True)
_RADII = Listed(_SIZE, least=1, rising=True)
_SITES = Listed(_ANY, least=1, rising=True)

# Shorter than the annotations that they stand in.
Ints = tuple[int, ...]
Floats = tuple[float, ...]
Texts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Standardize:
  """Statistics of a modality's channels; empty ones do nothing."""

  mean: Annotated[Floats, Key("means per channel", Listed(Number()))] = ()
  std: Annotated[Floats, Key("deviations per channel", Listed(_POSITIVE))] = ()


@dataclass(frozen=True, kw_only=True)
class Radii:
  """How far the attacks of an evaluation go, by norm; the smallest first.

  Those of linf, l2 and l1 are in the modality's own units. A site of l0 is a
  pixel with all its channels; of event frames it is one of one step.
  """

  linf: Annotated[Floats, Key("radii in linf", _RADII)] = (0.05, 0.1)
  l2: Annotated[Floats, Key("radii in l2", _RADII)] = (0.5, 1.0)
  l1: Annotated[Floats, Key("radii in l1", _RADII)] = (5.0, 10.0)
  l0: Annotated[Ints, Key("numbers of sites that may change", _SITES)] = (
    5,
    10,
  )

  def of(self, norm: str) -> Floats | Ints:
    """Returns the radii of one of `NORMS`."""
    radii: Floats | Ints = getattr(self, norm)
    return radii


@dataclass(frozen=True, kw_only=True)
class Modality:
  """One kind of input: its way into the network, and how it is attacked.

  Radii and steps are in its own units, before it is standardised.
  """

  encoder: str
  channels: Annotated[
    Ints, Key("channels of a cnn's convolutions", Listed(_SOME))
  ] = (16, 32)
  shrink: Annotated[int, Key("pool at a cnn's entrance", _SOME)] = 1
  standardize: Standardize = field(default_factory=Standardize)
  radius: Annotated[
    float, Key("linf radius of noise or attack in training", _POSITIVE)
  ] = 0.1
  step_size: Annotated[float, Key("step of the same", _POSITIVE)] = 0.05
  radius_l2: Annotated[
    float, Key("radius of an l2 attack in training", _POSITIVE)
  ] = 0.7
  radius_l1: Annotated[
    float, Key("radius of an l1 attack in training", _POSITIVE)
  ] = 3.5
  epsilons: Radii = field(default_factory=Radii)


@dataclass(frozen=True, kw_only=True)
class Image(Modality):
  """The images of a data set."""

  encoder: Annotated[
    str,
    Key("how they become spikes", OneOf(("direct", "poisson", "latency"))),
  ] = "direct"


@dataclass(frozen=True, kw_only=True)
class Events(Modality):
  """What an event camera sees: recordings of the data set, or simulated."""

  encoder: Annotated[str, Key("how they become spikes", OneOf(("frames",)))] = (
    "frames"
  )
  step_us: Annotated[int, Key("microseconds of the simulator", _SOME)] = 5000
  cap: Annotated[int, Key("events from which a pixel is full", _SOME)] = 2


@dataclass(frozen=True, kw_only=True)
class Modalities:
  """All kinds of input; ``data.modalities`` names those of a network."""

  image: Image = field(default_factory=Image)
  events: Events = field(default_factory=Events)


MODALITIES = tuple(each.name for each in dataclasses.fields(Modalities))


@dataclass(frozen=True, kw_only=True)
class Data:
  """Which examples there are."""

  name: Annotated[
    str, Key("digits (embedded), or a prepared set", Text(needed=True))
  ] = "digits"
  data_dir: Annotated[
    str, Key("folder of prepared sets; TFDS's own where empty", Text())
  ] = ""
  # One for all networks that are compared, whatever their own seed.
  seed: Annotated[int, Key("seed of which examples a part takes", SEEDS)] = 0
  modalities: Annotated[
    Texts,
    Key(
      "what the network sees",
      Listed(OneOf(MODALITIES), least=1, distinct=True),
    ),
  ] = ("image",)
  train_examples: Annotated[int, Key("training examples; 0: all", _ANY)] = 0
  test_examples: Annotated[int, Key("test examples; 0: all", _ANY)] = 0
  validation: Annotated[
    float,
    Key("share of the training examples held out", Number(0, 1, below=True)),
  ] = 0.1
  augment: Annotated[
    str,
    Key(
      "what training images go through",
      OneOf(("none", "crop_flip", "crop_flip_cutout")),
    ),
  ] = "none"
  stream: Annotated[
    bool, Key("leave training examples on the disk", Flag())
  ] = False


@dataclass(frozen=True, kw_only=True)
class Neuron:
  """What fires."""

  kind: Annotated[
    str,
    Key("neuron", OneOf(("lif", "if", "convex", "plif", "adaptive", "hire"))),
  ] = "lif"
  leak: Annotated[float, Key("share of the membrane kept per step", _SHARE)] = (
    0.5
  )
  threshold: Annotated[float, Key("potential of a spike", _POSITIVE)] = 1.0
  reset: Annotated[
    str, Key("what a spike does to it", OneOf(("hard", "soft", "none")))
  ] = "hard"


@dataclass(frozen=True, kw_only=True)
class Model:
  """The network behind its modalities' entrances."""

  kind: Annotated[
    str, Key("architecture", OneOf(("cnn", "mlp", "vgg5", "vgg11")))
  ] = "cnn"
  hidden: Annotated[Ints, Key("units of the dense layers", Listed(_SOME))] = (
    64,
  )
  steps: Annotated[int, Key("time steps T", _SOME)] = 8
  norm: Annotated[bool, Key("batch normalisation", Flag())] = False
  readout: Annotated[
    str,
    Key(
      "how outputs over time become logits",
      OneOf(("mean", "last", "largest", "membrane")),
    ),
  ] = "mean"
  rule: Annotated[str, Key("backward rule that trains", OneOf(RULES))] = (
    "bptt_triangle"
  )
  detach_reset: Annotated[
    bool, Key("no gradient through the reset", Flag())
  ] = False
  remat: Annotated[
    bool, Key("compute neurons twice, to save memory", Flag())
  ] = False
  neuron: Neuron = field(default_factory=Neuron)


@dataclass(frozen=True, kw_only=True)
class Sr:
  """Sparse-gradient regularisation."""

  weight: Annotated[float, Key("weight of the penalty", _SIZE)] = 0.001
  difference: Annotated[
    float, Key("step of the finite difference", _POSITIVE)
  ] = 0.01
  estimator: Annotated[
    str,
    Key(
      "how the penalty is measured",
      OneOf(("finite_difference", "jvp", "double_backpropagation")),
    ),
  ] = "finite_difference"
  direction: Annotated[
    str,
    Key("norm of the gradient that it punishes", OneOf(("l1", "l2", "linf"))),
  ] = "l1"
  shape: Annotated[str, Key("how it grows", OneOf(("squared", "absolute")))] = (
    "squared"
  )
  confidence: Annotated[
    str,
    Key(
      "what is differentiated",
      OneOf(
        ("rival_probability", "softmax_probability", "margin", "surprisal")
      ),
    ),
  ] = "rival_probability"
  # TF32 and bfloat16 err by 3e-4 and 3e-3, beside a step of 0.01.
  precision: Annotated[
    str,
    Key("of the passes of a finite difference", OneOf(PRECISIONS)),
  ] = "float32"
  participation: Annotated[
    float,
    Key("weight of the participation ratio; below 0: denser", Number()),
  ] = 0.0
  participation_estimator: Annotated[
    str,
    Key(
      "how its derivative is measured; none leaves it out",
      OneOf(("none", "jvp", "double_backpropagation")),
    ),
  ] = "none"


@dataclass(frozen=True, kw_only=True)
class Hire:
  """HIRE-style periods of crafted noise, within each modality's radius."""

  periods: Annotated[int, Key("a divisor of model.steps", _SOME)] = 2
  noise: Annotated[
    str, Key("what is added", OneOf(("crafted", "off", "random")))
  ] = "crafted"
  keep_membranes: Annotated[bool, Key("membranes outlast periods", Flag())] = (
    True
  )
  keep_noise: Annotated[bool, Key("noise outlasts batches", Flag())] = False


@dataclass(frozen=True, kw_only=True)
class Adversarial:
  """Training on attacked inputs, within each modality's radius of a norm."""

  norms: Annotated[
    Texts,
    Key(
      "norms of the attack; of several the worst per example",
      Listed(OneOf(DENSE_NORMS), least=1, distinct=True),
    ),
  ] = ("linf",)
  steps: Annotated[int, Key("its steps; 1 is FGSM", _SOME)] = 7


@dataclass(frozen=True, kw_only=True)
class Method:
  """How a network is trained: by name, with each method's own keys."""

  name: Annotated[str, Key("how it is trained", OneOf(METHODS))] = "vanilla"
  sr: Sr = field(default_factory=Sr)
  hire: Hire = field(default_factory=Hire)
  adversarial: Adversarial = field(default_factory=Adversarial)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
  """What moves the weights."""

  kind: Annotated[str, Key("optimiser", OneOf(("adam", "sgd")))] = "adam"
  learning_rate: Annotated[float, Key("first learning rate", _POSITIVE)] = 1e-3
  schedule: Annotated[str, Key("its course", OneOf(("constant", "cosine")))] = (
    "cosine"
  )
  weight_decay: Annotated[float, Key("decoupled weight decay", _SIZE)] = 0.0


@dataclass(frozen=True, kw_only=True)
class Train:
  """How long, and what is written on the way."""

  batch_size: Annotated[int, Key("examples per step", _SOME)] = 64
  epochs: Annotated[int, Key("passes over the training examples", _ANY)] = 3
  log_every: Annotated[
    int, Key("steps between lines of metrics.jsonl", _SOME)
  ] = 10
  # The end of every epoch is a checkpoint too.
  checkpoint_every: Annotated[int, Key("steps between checkpoints", _SOME)] = (
    100
  )
  select: Annotated[
    str, Key("last epoch, or best on validation", OneOf(("last", "validation")))
  ] = "last"
  tensorboard: Annotated[bool, Key("write TensorBoard events too", Flag())] = (
    False
  )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
  """How a network is attacked, within each modality's epsilons.

  Attributes:
    attacks: what the suite says, by attack; `suites.resolved` writes it, and
      no key sets it.
  """

  suite: Annotated[
    str, Key(f"attacks: {', '.join(SUITES)}, or a .py file", Text(needed=True))
  ] = "quick"
  examples: Annotated[int, Key("test examples attacked; 0: all", _ANY)] = 0
  microbatch: Annotated[int, Key("examples computed at once", _SOME)] = 64
  steps: Annotated[
    int, Key("steps of attacks that do not say theirs", _SOME)
  ] = 20
  precision: Annotated[
    str,
    Key("of attacks and measurements; below float32: alarm", OneOf(PRECISIONS)),
  ] = "float32"
  kernel: Annotated[
    str,
    Key("of neurons in attacks and measurements; as kernel", OneOf(KERNELS)),
  ] = "auto"
  norms: Annotated[
    Texts,
    Key(
      "norms of the attacks; gradients are studied in the first",
      Listed(OneOf(NORMS), least=1, distinct=True),
    ),
  ] = ("linf",)
  rules: Annotated[
    Texts,
    Key(
      "backward rules of the attacks",
      Listed(OneOf((*RULES, *ADAPTIVE_RULES)), least=1),
    ),
  ] = ("bptt_triangle", "bptt_atan", "rga", "hart_atan")
  random_draws: Annotated[int, Key("samples of random noise", _SOME)] = 10
  shown: Annotated[int, Key("examples whose gradients are shown", _SOME)] = 6
  alarm_examples: Annotated[
    int, Key("examples for the alarms; 0: none", _ANY)
  ] = 32
  alarm_pairs: Annotated[
    int, Key("queries of a step without gradient; 0: none", _ANY)
  ] = 16
  attacks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
  """What only its authors know; see `snnjax.report.leaderboard`."""

  name: Annotated[
    str, Key("of the entry; the folder's where empty", Text())
  ] = ""
  title: Annotated[str, Key("of the paper", Text())] = ""
  link: Annotated[str, Key("to the paper", Text())] = ""
  authors: Annotated[str, Key("of the paper", Text())] = ""
  venue: Annotated[str, Key("of the paper", Text())] = "Unpublished"
  footnote: Annotated[str, Key("below the entry", Text())] = ""
  architecture: Annotated[str, Key("composed where empty", Text())] = ""
  additional_data: Annotated[
    bool, Key("trained on more than the data set", Flag())
  ] = False
  reported: Annotated[
    float,
    Key("robust accuracy claimed elsewhere; -1 is none", Number(-1, 1)),
  ] = -1.0


@dataclass(frozen=True, kw_only=True)
class Config:
  """All that a run is told."""

  seed: Annotated[
    int, Key("seed of the weights, the order of examples and noise", SEEDS)
  ] = 0
  precision: Annotated[
    str,
    Key("of convolutions and dense layers in training", OneOf(PRECISIONS)),
  ] = "float32"
  kernel: Annotated[
    str,
    Key("of neurons in training; auto: scan; fused: CUDA", OneOf(KERNELS)),
  ] = "auto"
  data: Data = field(default_factory=Data)
  modalities: Modalities = field(default_factory=Modalities)
  model: Model = field(default_factory=Model)
  method: Method = field(default_factory=Method)
  optimizer: Optimizer = field(default_factory=Optimizer)
  train: Train = field(default_factory=Train)
  evaluation: Evaluation = field(default_factory=Evaluation)
  leaderboard: Leaderboard = field(default_factory=Leaderboard)
  compared: Annotated[
    Texts,
    Key(
      "methods that the quickstart compares",
      Listed(OneOf(METHODS), distinct=True),
    ),
  ] = ()

  @property
  def seen(self) -> dict[str, Modality]:
    """What the network sees, by name, in the order of the names."""
    return {
      name: getattr(self.modalities, name)
      for name in sorted(self.data.modalities)
    }


def known_keys(kind: type, prefix: str = "") -> Iterator[tuple[str, Known]]:
  """Yields every key of a class of this module, dotted, in its order."""
  for each in dataclasses.fields(kind):
    key = f"{prefix}{each.name}"
    if get_origin(each.type) is Annotated:
      value, said = get_args(each.type)
      listed = get_origin(value) is tuple
      yield (
        key,
        Known(
          said.about,
          said.allowed,
          get_args(value)[0] if listed else value,
          listed,
        ),
      )
    elif isinstance(each.type, type) and dataclasses.is_dataclass(each.type):
      yield from known_keys(each.type, f"{key}.")


KEYS: Mapping[str, Known] = dict(known_keys(Config))
# The value may be the path of a file that is run: only one that was typed is.
CODE = ("evaluation.suite",)
# Changing no result, they may change between a run and its resumption.
CHANGEABLE = (
  "data.data_dir",  # data that moved; recognised by their digest
  "train.log_every",
  "train.checkpoint_every",
  "train.tensorboard",
  "evaluation.microbatch",
  "leaderboard",  # read by the report alone
)


# They came after configurations were recorded. With their default, as it was
# done before, they are not written: digests and files stay what they were.
ADDED = (
  "precision",
  "evaluation.precision",
  "method.sr.precision",
  "kernel",
  "evaluation.kernel",
)


def of_modalities(*names: str) -> tuple[str, ...]:
  """Returns some keys of each modality, dotted."""
  return tuple(f"modalities.{m}.{name}" for m in MODALITIES for name in names)


# How far the attacks of an evaluation go.
EPSILONS = of_modalities("epsilons")
# What an evaluation is: what is attacked how, and how far.
ATTACKING = ("evaluation", *EPSILONS)
# What shapes a network of the modalities that it sees.
NETWORK = (
  "data.modalities",
  "model",
  *of_modalities("encoder", "channels", "shrink", "standardize"),
)
# The same, as it is measured.
MEASURED = (*NETWORK, "evaluation.precision", "evaluation.kernel")
# What a modality has beside the keys of all: how it is recorded.
_COMMON = [each.name for each in dataclasses.fields(Modality)]
RECORDING = tuple(
  key
  for key in KEYS
  if key.startswith("modalities.") and key.split(".")[2] not in _COMMON
)
TRAINING = (
  "seed",
  "precision",
  "kernel",
  "data",
  "modalities",
  "model",
  "method",
  "optimizer",
  "train",
)
EVALUATING = (*ATTACKING, "data.data_dir")
REPORTING = ("leaderboard", "data.data_dir")
# What training only keeps, for the binaries that come after it.
LATER = (*ATTACKING, "leaderboard", "compared")


def covers(groups: Sequence[str], key: str) -> bool:
  """Returns whether a key is one of `groups`, or lies in one."""
  return any(key == group or key.startswith(f"{group}.") for group in groups)
