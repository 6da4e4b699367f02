"""From names and numbers of a configuration to the library's functions.

Every table maps the names that a configuration may use to a constructor; an
unknown name is answered with the known ones.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from snnjax import (
  attacks,
  backward,
  encoders,
  losses,
  methods,
  models,
  neurons,
  prng,
  readouts,
  regularizers,
  surrogates,
)
from snnjax.backward import assg, pdsg
from snnjax.interfaces import (
  Attack,
  BackwardRule,
  Key,
  LogitsFn,
  Network,
  Objective,
  Trace,
  Variables,
)
from snnjax.methods import Method
from snnjax.models.layers import BatchNorm

Config = Any  # an ml_collections.ConfigDict: attributes by name

SURROGATES: Mapping[str, Callable[..., surrogates.Surrogate]] = {
  "triangle": surrogates.triangle,
  "atan": surrogates.atan,
  "sigmoid": surrogates.sigmoid,
  "fast_sigmoid": surrogates.fast_sigmoid,
  "gaussian": surrogates.gaussian,
  "rectangle": surrogates.rectangle,
}
# Rules that remember the drives they attacked: for attacks, not for training.
ADAPTIVE = {
  "assg_atan": assg.ATAN,
  "assg_triangle": assg.TRIANGLE,
  "assg_rectangle": assg.RECTANGLE,
  "assg_sigmoid": assg.SIGMOID,
  "assg_gaussian": assg.GAUSSIAN,
}
RESETS = {
  "hard": neurons.hard_reset,
  "soft": neurons.soft_reset,
  "none": neurons.no_reset,
}
ENCODERS = {
  "direct": encoders.direct,
  "poisson": encoders.poisson,
  "latency": encoders.latency,
}
RANDOM_ENCODERS = ("poisson",)
READOUTS = {
  "mean": readouts.mean,
  "last": readouts.last,
  "largest": readouts.largest,
  "membrane": readouts.membrane,
}
NOISES = {
  "crafted": methods.crafted,
  "off": methods.no_noise,
  "random": methods.scattered,
}
ESTIMATORS = {
  "finite_difference": regularizers.finite_difference,
  "jvp": lambda step: regularizers.jvp,
  "double_backpropagation": lambda step: regularizers.double_backpropagation,
}
DIRECTIONS = {
  "l1": regularizers.sign_direction,
  "l2": regularizers.unit_direction,
  "linf": regularizers.peak_direction,
}
SHAPES = {"squared": regularizers.squared, "absolute": regularizers.absolute}
CONFIDENCES = {
  "rival_probability": losses.rival_probability,
  "softmax_probability": losses.softmax_probability,
  "margin": losses.margin,
  "surprisal": losses.surprisal,
}
THREATS = {"linf": attacks.linf, "l2": attacks.l2, "l1": attacks.l1}


def chosen(table: Mapping[str, Any], key: str, name: str) -> Any:
  """Returns the table's entry `name`.

  Raises:
    ValueError: if there is none; it names the key and the known names.
  """
  if name not in table:
    raise ValueError(f"{key} must be one of {sorted(table)}; got {name!r}")
  return table[name]


def neuron(config: Config) -> neurons.Neuron | neurons.Trainable:
  """Builds the neuron of ``config.model.neuron``."""
  made = config.model.neuron
  reset = chosen(RESETS, "model.neuron.reset", made.reset)
  kinds = {
    "lif": lambda: neurons.lif(made.leak, made.threshold, reset=reset),
    "if": lambda: neurons.integrate_and_fire(made.threshold, reset=reset),
    "convex": lambda: neurons.convex_lif(
      1 - made.leak, made.threshold, reset=reset
    ),
    "plif": lambda: neurons.plif(made.leak, made.threshold, reset=reset),
    "adaptive": lambda: neurons.adaptive_lif(
      made.leak, made.threshold, reset=reset
    ),
    "hire": lambda: neurons.hire(made.leak, made.threshold),
  }
  return chosen(kinds, "model.neuron.kind", made.kind)()


def rule(config: Config, name: str) -> BackwardRule:
  """Builds a backward rule by name, such as "bptt_atan", "rga" or "hart_atan".

  Args:
    config: its neuron's constants are those of RGA.
    name: "bptt_SURROGATE", "hart_SURROGATE", "bptr", "rga", "pdsg" or
      "straight_through".
  """
  found = chosen(_rules(config), "rule", name)()
  return _Remat(found) if config.model.remat else found


def depends_on_batch(config: Config, name: str) -> bool:
  """Returns whether a gradient under a rule takes statistics of the batch.

  Args:
    config: the configuration.
    name: of a rule, see `rule_names`.
  """
  return name not in ADAPTIVE and backward.depends_on_batch(rule(config, name))


def rule_names(config: Config) -> tuple[str, ...]:
  """Returns the rules that attacks may follow, those that adapt included."""
  return (*_rules(config), *ADAPTIVE)


def adaptive_oracle(
  made: Network,
  variables: Variables,
  name: str,
  loss: losses.LogitsLoss,
  draws: int,
) -> attacks.Oracle:
  """Builds the oracle of a loss under a rule that adapts to the attack.

  Args:
    made: the network.
    variables: its weights and statistics.
    name: a key of `ADAPTIVE`.
    loss: ``(logits, labels) -> [B]``.
    draws: how many draws of a random encoder are averaged.
  """
  adapting = assg.assg_rule(ADAPTIVE[name])
  return attacks.assg(made, variables, loss, rule=adapting, draws=draws)


def _rules(config: Config) -> dict[str, Callable[[], BackwardRule]]:
  made = config.model.neuron
  detach = config.model.detach_reset
  rules: dict[str, Callable[[], BackwardRule]] = {
    "bptr": backward.Bptr,
    "rga": lambda: backward.Rga(made.leak, made.threshold),
    "pdsg": pdsg.Pdsg,
    "straight_through": backward.StraightThrough,
  }
  for family, make in SURROGATES.items():
    surrogate = make()
    rules[f"bptt_{family}"] = functools.partial(
      backward.Bptt, surrogate, detach_reset=detach
    )
    rules[f"hart_{family}"] = functools.partial(backward.Hart, surrogate)
  return rules


class _Remat(NamedTuple):
  """A rule whose neurons run again in the backward pass, to save memory."""

  rule: BackwardRule

  def __call__(
    self,
    layer: str,
    neuron: neurons.Neuron,
    currents: jax.Array,
    state: Any | None,
  ) -> Trace:
    again = jax.checkpoint(functools.partial(self.rule, layer, neuron))
    return again(currents, state)

  @property
  def batch_statistics(self) -> bool:
    return backward.depends_on_batch(self.rule)


def network(
  config: Config, modalities: tuple[str, ...], classes: int
) -> Network:
  """Builds the network of ``config.model`` for the data's modalities.

  Args:
    config: the configuration.
    modalities: "image", "events" or both; both make a two-branch network.
    classes: number of logits.
  """
  made = config.model
  direct = chosen(ENCODERS, "model.encoder", made.encoder)(made.steps)
  coded = {"image": direct, "events": encoders.frames(made.steps)}
  common = {
    "neuron": neuron(config),
    "classes": classes,
    "readout": chosen(READOUTS, "model.readout", made.readout)(),
  }
  norm = BatchNorm if made.norm else None
  standardize = _standardize(config, modalities)

  def vgg(layout: str, encoder: encoders.Encoder) -> Network:
    return models.vgg(
      layout,
      encoder=encoder,
      hidden=made.hidden,
      standardize=standardize,
      **common,
    )

  kinds = {
    "cnn": lambda encoder: models.cnn(
      made.channels,
      encoder=encoder,
      hidden=made.hidden,
      norm=norm,
      standardize=standardize,
      **common,
    ),
    "mlp": lambda encoder: models.mlp(made.hidden, encoder=encoder, **common),
    "vgg11": functools.partial(vgg, "vgg11"),
    "vgg5": functools.partial(vgg, "vgg5"),
  }
  if len(modalities) == 1:
    kind = chosen(kinds, "model.kind", made.kind)
    return kind(coded[modalities[0]])
  if made.kind != "cnn":
    raise ValueError(
      f"model.kind must be 'cnn' for {modalities}; got {made.kind!r}"
    )
  return models.fusion(
    {name: coded[name] for name in modalities},
    dict.fromkeys(modalities, tuple(made.channels)),
    hidden=made.hidden,
    norm=norm,
    shrink={"events": made.event_shrink} if "events" in modalities else None,
    **common,
  )


def _standardize(
  config: Config, modalities: tuple[str, ...]
) -> tuple[Sequence[float], Sequence[float]] | None:
  """Mean and std per channel of ``config.model.standardize``, if given."""
  mean, std = config.model.standardize.mean, config.model.standardize.std
  if not mean and not std:
    return None
  if len(mean) != len(std) or not all(value > 0 for value in std):
    raise ValueError(
      "model.standardize must have as many means as stds, which are above 0; "
      f"got {tuple(mean)} and {tuple(std)}"
    )
  if modalities != ("image",) or config.model.kind == "mlp":
    raise ValueError(
      "model.standardize must be empty but for convolutional networks of "
      f"images; got {tuple(mean)} for {config.model.kind!r} of {modalities}"
    )
  return mean, std


def radii(config: Config, modalities: tuple[str, ...], name: str) -> Any:
  """Returns ``config.method.NAME`` for one modality, or a mapping of them."""
  values = config.method[name]
  if len(modalities) == 1:
    return values[modalities[0]]
  return {modality: values[modality] for modality in modalities}


def method(
  config: Config, made: Network, modalities: tuple[str, ...]
) -> Method | Objective:
  """Builds the training method of ``config.method``."""
  options, own = config.method, rule(config, config.model.rule)
  vanilla = functools.partial(methods.vanilla, made, rule=own)
  sr = functools.partial(
    methods.sr,
    made,
    rule=own,
    weight=options.weight,
    confidence=chosen(CONFIDENCES, "method.confidence", options.confidence),
    direction=chosen(DIRECTIONS, "method.direction", options.direction),
    estimator=chosen(ESTIMATORS, "method.estimator", options.estimator)(
      options.difference
    ),
    shape=chosen(SHAPES, "method.shape", options.shape),
  )
  adversarial = functools.partial(
    methods.adversarial,
    network=made,
    craft=functools.partial(_craft, config, modalities),
    rule=own,
  )
  hire = functools.partial(
    methods.hire,
    made,
    rule=own,
    steps=config.model.steps,
    periods=options.periods,
    step_size=radii(config, modalities, "step_size"),
    radius=radii(config, modalities, "radius"),
    noise=chosen(NOISES, "method.noise", options.noise),
    # Inputs of one modality are an array, which has no name.
    framed=("",) if modalities == ("events",) else ("events",),
    keep_membranes=options.keep_membranes,
    keep_noise=options.keep_noise,
  )
  kinds: dict[str, Callable[[], Method | Objective]] = {
    "vanilla": vanilla,
    "sr": sr,
    "hire": hire,
    "adversarial": lambda: adversarial(vanilla()),
    "sr_adversarial": lambda: adversarial(sr()),
  }
  return chosen(kinds, "method.kind", options.kind)()


def _craft(
  config: Config, modalities: tuple[str, ...], logits_fn: LogitsFn
) -> Attack:
  """The attack inside adversarial training: PGD, or FGSM for one step."""
  options = config.method
  radius = radii(config, modalities, "radius")
  threat = threat_of(options.norm, radius)
  if options.attack_steps == 1:
    return attacks.fgsm(logits_fn, threat)
  return attacks.pgd(
    logits_fn,
    threat,
    step_size=radii(config, modalities, "step_size"),
    steps=options.attack_steps,
  )


def threat_of(norm: str, radius: Any) -> attacks.Threat:
  """Builds a threat of one radius, or one per modality of a mapping."""
  make = chosen(THREATS, "norm", norm)
  if isinstance(radius, Mapping):
    return attacks.per_modality({n: make(r) for n, r in radius.items()})
  return make(radius)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
  """Builds the optimiser of ``config.optimizer`` for a run of `steps`."""
  options = config.optimizer
  schedules = {
    "constant": lambda: optax.constant_schedule(options.learning_rate),
    "cosine": lambda: optax.cosine_decay_schedule(
      options.learning_rate, max(steps, 1)
    ),
  }
  rate = chosen(schedules, "optimizer.schedule", options.schedule)()
  kinds = {
    "adam": lambda: optax.adamw(rate, weight_decay=options.weight_decay),
    "sgd": lambda: optax.chain(
      optax.add_decayed_weights(options.weight_decay),
      optax.sgd(rate, momentum=0.9),
    ),
  }
  return chosen(kinds, "optimizer.kind", options.kind)()


def key(config: Config, purpose: str) -> Key:
  """Returns the key of one purpose of a run, of ``config.seed``.

  Args:
    config: the whole configuration.
    purpose: in words, no other's; see `snnjax.prng.fold_in_name`.
  """
  return prng.fold_in_name(prng.key(config.seed), purpose)


def data_key(config: Config, purpose: str) -> Key:
  """Returns the key of one purpose of the data, of ``config.data.seed``.

  Networks of all seeds see the same data. Arguments as those of `key`.
  """
  return prng.fold_in_name(prng.key(config.data.seed), purpose)
