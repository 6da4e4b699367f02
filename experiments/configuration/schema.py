"""Every key of a configuration: one line on it, what it may be, who reads it.

The one place that `--help`, the checks before a run and the refusal of keys
that are not read look at. It imports nothing heavy: names of what the library
builds are repeated here, and a test compares them with the tables of `build`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.configuration.allowed import (
  Allowed,
  Flag,
  Listed,
  Number,
  OneOf,
  Text,
)


class Key(NamedTuple):
  """One key.

  Attributes:
    about: one line.
    allowed: its values.
  """

  about: str
  allowed: Allowed


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
NORMS = ("linf", "l2", "l1")
SUITES = ("full", "quick", "standard")
SEEDS = Number(0, 2**32 - 1, whole=True)
_SOME = Number(1, whole=True)
_ANY = Number(0, whole=True)
_SIZE = Number(0)
_SHARE = Number(0, 1)
_POSITIVE = Number(0, above=True)
_RADII = Listed(_SIZE, least=1, rising=True)

KEYS: Mapping[str, Key] = {
  "seed": Key("seed of the weights, the order of examples and noise", SEEDS),
  "data.name": Key("digits (embedded), or a prepared set", Text(needed=True)),
  "data.data_dir": Key(
    "folder of prepared sets; TFDS's own where empty", Text()
  ),
  "data.modality": Key(
    "what the network sees", OneOf(("image", "events", "both"))
  ),
  "data.seed": Key("seed of which examples a part takes", SEEDS),
  "data.train_examples": Key("training examples; 0 takes all", _ANY),
  "data.test_examples": Key("test examples; 0 takes all", _ANY),
  "data.validation": Key(
    "share of the training examples held out", Number(0, 1, below=True)
  ),
  "data.event_step_us": Key("microseconds of the event simulator", _SOME),
  "data.event_cap": Key("events from which an event pixel is full", _SOME),
  "data.augment": Key(
    "what training images go through",
    OneOf(("none", "crop_flip", "crop_flip_cutout")),
  ),
  "data.stream": Key("leave training images on the disk", Flag()),
  "model.kind": Key("architecture", OneOf(("cnn", "mlp", "vgg5", "vgg11"))),
  "model.channels": Key("channels of a cnn's convolutions", Listed(_SOME)),
  "model.hidden": Key("units of the dense layers", Listed(_SOME)),
  "model.steps": Key("time steps T", _SOME),
  "model.event_shrink": Key("pool of event frames at the entrance", _SOME),
  "model.norm": Key("batch normalisation", Flag()),
  "model.standardize.mean": Key("means per channel", Listed(Number())),
  "model.standardize.std": Key("deviations per channel", Listed(_POSITIVE)),
  "model.encoder": Key(
    "how images become spikes", OneOf(("direct", "poisson", "latency"))
  ),
  "model.readout": Key(
    "how outputs over time become logits",
    OneOf(("mean", "last", "largest", "membrane")),
  ),
  "model.rule": Key("backward rule that trains", OneOf(RULES)),
  "model.detach_reset": Key("no gradient through the reset", Flag()),
  "model.remat": Key("compute neurons twice, to save memory", Flag()),
  "model.neuron.kind": Key(
    "neuron", OneOf(("lif", "if", "convex", "plif", "adaptive", "hire"))
  ),
  "model.neuron.leak": Key("share of the membrane kept per step", _SHARE),
  "model.neuron.threshold": Key("potential of a spike", _POSITIVE),
  "model.neuron.reset": Key(
    "what a spike does to it", OneOf(("hard", "soft", "none"))
  ),
  "method.kind": Key(
    "how it is trained",
    OneOf(("vanilla", "sr", "hire", "adversarial", "sr_adversarial")),
  ),
  "method.weight": Key("weight of SR's penalty", _SIZE),
  "method.difference": Key("step of its finite difference", _POSITIVE),
  "method.estimator": Key(
    "how the penalty is measured",
    OneOf(("finite_difference", "jvp", "double_backpropagation")),
  ),
  "method.direction": Key(
    "norm of the gradient that it punishes", OneOf(("l1", "l2", "linf"))
  ),
  "method.shape": Key("how it grows", OneOf(("squared", "absolute"))),
  "method.confidence": Key(
    "what is differentiated",
    OneOf(("rival_probability", "softmax_probability", "margin", "surprisal")),
  ),
  "method.periods": Key("HIRE's periods, a divisor of model.steps", _SOME),
  "method.noise": Key("HIRE's noise", OneOf(("crafted", "off", "random"))),
  "method.keep_membranes": Key("membranes outlast HIRE's periods", Flag()),
  "method.keep_noise": Key("noise outlasts batches", Flag()),
  "method.radius.image": Key("radius of noise or attack, images", _POSITIVE),
  "method.radius.events": Key("radius of noise or attack, events", _POSITIVE),
  "method.step_size.image": Key("step of the same, images", _POSITIVE),
  "method.step_size.events": Key("step of the same, events", _POSITIVE),
  "method.norm": Key("norm of adversarial training", OneOf(NORMS)),
  "method.attack_steps": Key("its steps; 1 is FGSM", _SOME),
  "optimizer.kind": Key("optimiser", OneOf(("adam", "sgd"))),
  "optimizer.learning_rate": Key("first learning rate", _POSITIVE),
  "optimizer.schedule": Key("its course", OneOf(("constant", "cosine"))),
  "optimizer.weight_decay": Key("decoupled weight decay", _SIZE),
  "train.batch_size": Key("examples per step", _SOME),
  "train.epochs": Key("passes over the training examples", _ANY),
  "train.log_every": Key("steps between lines of metrics.jsonl", _SOME),
  "train.checkpoint_every": Key("steps between checkpoints", _SOME),
  "train.select": Key(
    "last epoch, or best on validation", OneOf(("last", "validation"))
  ),
  "train.tensorboard": Key("write TensorBoard events too", Flag()),
  "evaluation.suite": Key(
    f"attacks: {', '.join(SUITES)}, or a .py file", Text(needed=True)
  ),
  "evaluation.examples": Key("test examples attacked; 0 takes all", _ANY),
  "evaluation.microbatch": Key("examples computed at once", _SOME),
  "evaluation.steps": Key("steps of attacks that do not say theirs", _SOME),
  "evaluation.norm": Key("norm of the attacks", OneOf(NORMS)),
  "evaluation.epsilons.image": Key("radii, images", _RADII),
  "evaluation.epsilons.events": Key("radii, events", _RADII),
  "evaluation.rules": Key(
    "backward rules of the attacks",
    Listed(OneOf((*RULES, *ADAPTIVE_RULES)), least=1),
  ),
  "evaluation.random_draws": Key("samples of random noise", _SOME),
  "evaluation.shown": Key("examples whose gradients are shown", _SOME),
  "evaluation.alarm_examples": Key("examples for the alarms; 0: none", _ANY),
  "evaluation.alarm_pairs": Key("queries of a step without gradient", _ANY),
  "leaderboard.name": Key("of the entry; the folder's where empty", Text()),
  "leaderboard.title": Key("of the paper", Text()),
  "leaderboard.link": Key("to the paper", Text()),
  "leaderboard.authors": Key("of the paper", Text()),
  "leaderboard.venue": Key("of the paper", Text()),
  "leaderboard.footnote": Key("below the entry", Text()),
  "leaderboard.architecture": Key("composed where empty", Text()),
  "leaderboard.additional_data": Key("trained on more data", Flag()),
  "leaderboard.reported": Key(
    "robust accuracy claimed elsewhere; -1 is none", Number(-1, 1)
  ),
  "compared": Key("networks to compare", Listed(Text(needed=True), least=1)),
}
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
TRAINING = ("seed", "data", "model", "method", "optimizer", "train")
EVALUATING = ("evaluation", "data.data_dir")
REPORTING = ("leaderboard", "data.data_dir")
# What training only keeps, for the binaries that come after it.
LATER = ("evaluation", "leaderboard")
NETWORKS = "networks"  # of a quickstart: changes to `method`, by name


def covers(groups: Sequence[str], key: str) -> bool:
  """Returns whether a key is one of `groups`, or lies in one."""
  return any(key == group or key.startswith(f"{group}.") for group in groups)
