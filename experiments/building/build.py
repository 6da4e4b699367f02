"""From names and numbers of a configuration to the library's functions.

Every table maps the names that a configuration may use to a constructor; an
unknown name is answered with the known ones.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from experiments.configuration.schema import Config, Floats, Modality
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
  Array,
  Attack,
  BackwardRule,
  Forward,
  Inputs,
  Key,
  LogitsFn,
  Network,
  Objective,
  State,
  Trace,
  Variables,
)
from snnjax.methods import Method
from snnjax.models.layers import BatchNorm

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
  "frames": encoders.frames,
}
RANDOM_ENCODERS = ("poisson",)
FRAMED_ENCODERS = ("frames",)  # of inputs that have a time axis themselves
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


def network(config: Config, classes: int) -> Network:
  """Builds the network of ``config.model`` for what it sees.

  Args:
    config: the configuration.
    classes: number of logits.

  Returns:
    A network whose inputs are a mapping of modalities, of one too. Several
    modalities have a branch each.

  Raises:
    ValueError: the configuration asks for a network that there is not.
  """
  for name, own in config.seen.items():
    _check_entrance(config, name, own)
  if len(config.seen) > 1:
    return _fusion(config, classes)
  ((name, own),) = config.seen.items()
  kind = chosen(_KINDS, "model.kind", config.model.kind)
  return _naming(name, kind(config, own, _encoder(config, name, own), classes))


def _check_entrance(config: Config, name: str, own: Modality) -> None:
  """Raises unless a network of this kind has what a modality asks for."""
  mean, std = own.standardize.mean, own.standardize.std
  kind, alone = config.model.kind, len(config.seen) == 1
  key = f"modalities.{name}.standardize"
  if len(mean) != len(std) or not all(value > 0 for value in std):
    raise ValueError(
      f"{key} must have as many means as stds, which are above 0; got {mean} "
      f"and {std}"
    )
  if mean and (kind == "mlp" or not alone):
    raise ValueError(
      f"{key} must be empty but for convolutional networks of one modality; "
      f"got {mean} for {kind!r} of {tuple(config.seen)}"
    )
  if own.shrink > 1 and kind != "cnn":
    raise ValueError(
      f"modalities.{name}.shrink must be 1 for {kind!r}; got {own.shrink}"
    )


def _encoder(config: Config, name: str, own: Modality) -> encoders.Encoder:
  key = f"modalities.{name}.encoder"
  return chosen(ENCODERS, key, own.encoder)(config.model.steps)


def _readout(config: Config) -> readouts.Readout:
  return chosen(READOUTS, "model.readout", config.model.readout)()


def _standardized(own: Modality) -> tuple[Floats, Floats] | None:
  """Mean and std per channel, if given."""
  if not own.standardize.mean:
    return None
  return own.standardize.mean, own.standardize.std


def _cnn(
  config: Config, own: Modality, encoder: encoders.Encoder, classes: int
) -> Network:
  return models.cnn(
    own.channels,
    encoder=encoder,
    neuron=neuron(config),
    hidden=config.model.hidden,
    classes=classes,
    norm=BatchNorm if config.model.norm else None,
    standardize=_standardized(own),
    shrink=own.shrink,
    readout=_readout(config),
  )


def _mlp(
  config: Config, own: Modality, encoder: encoders.Encoder, classes: int
) -> Network:
  del own
  return models.mlp(
    config.model.hidden,
    encoder=encoder,
    neuron=neuron(config),
    classes=classes,
    readout=_readout(config),
  )


def _vgg(
  config: Config, own: Modality, encoder: encoders.Encoder, classes: int
) -> Network:
  return models.vgg(
    config.model.kind,
    encoder=encoder,
    neuron=neuron(config),
    hidden=config.model.hidden,
    classes=classes,
    standardize=_standardized(own),
    readout=_readout(config),
  )


_KINDS = {"cnn": _cnn, "mlp": _mlp, "vgg5": _vgg, "vgg11": _vgg}


def _fusion(config: Config, classes: int) -> Network:
  """A branch for each of several modalities."""
  model, seen = config.model, config.seen
  if model.kind != "cnn":
    raise ValueError(
      f"model.kind must be 'cnn' for {tuple(seen)}; got {model.kind!r}"
    )
  return models.fusion(
    {name: _encoder(config, name, own) for name, own in seen.items()},
    {name: own.channels for name, own in seen.items()},
    neuron=neuron(config),
    hidden=model.hidden,
    classes=classes,
    norm=BatchNorm if model.norm else None,
    readout=_readout(config),
    shrink={name: own.shrink for name, own in seen.items()},
  )


def _naming(name: str, inner: Network) -> Network:
  """A network of one array as one of a mapping that names the array."""

  def init(key: Key, inputs: Inputs) -> Variables:
    return inner.init(key, _named(name, inputs))

  def apply(
    variables: Variables,
    inputs: Inputs,
    *,
    rule: BackwardRule,
    key: Key | None = None,
    train: bool = False,
    states: Mapping[str, State] | None = None,
    window: tuple[int, int] | None = None,
  ) -> Forward:
    return inner.apply(
      variables,
      _named(name, inputs),
      rule=rule,
      key=key,
      train=train,
      states=states,
      window=window,
    )

  return Network(init, apply)


def _named(name: str, inputs: Inputs) -> Array:
  """The array of the only modality."""
  arrays = by_modality(inputs)
  if set(arrays) != {name}:
    raise ValueError(
      f"inputs must have the modality {name!r}; got {sorted(arrays)}"
    )
  return arrays[name]


def by_modality(inputs: Inputs) -> Mapping[str, Array]:
  """Returns inputs as the experiments carry them: a mapping of modalities.

  Raises:
    TypeError: they are one array, as the library takes them too.
  """
  if not isinstance(inputs, Mapping):
    raise TypeError(
      'inputs must be a mapping of modalities, {"image": ...}; got one array'
    )
  return inputs


def method(config: Config, made: Network) -> Method | Objective:
  """Builds the training method of ``config.method`` for a network."""
  return chosen(METHODS, "method.name", config.method.name)(config, made)


def _vanilla(config: Config, made: Network) -> Objective:
  return methods.vanilla(made, rule=rule(config, config.model.rule))


def _sr(config: Config, made: Network) -> Objective:
  own = config.method.sr
  estimator = chosen(ESTIMATORS, "method.sr.estimator", own.estimator)
  return methods.sr(
    made,
    rule=rule(config, config.model.rule),
    weight=own.weight,
    confidence=chosen(CONFIDENCES, "method.sr.confidence", own.confidence),
    direction=chosen(DIRECTIONS, "method.sr.direction", own.direction),
    estimator=estimator(own.difference),
    shape=chosen(SHAPES, "method.sr.shape", own.shape),
  )


def _hire(config: Config, made: Network) -> Method:
  own, seen = config.method.hire, config.seen
  return methods.hire(
    made,
    rule=rule(config, config.model.rule),
    steps=config.model.steps,
    periods=own.periods,
    step_size={name: each.step_size for name, each in seen.items()},
    radius={name: each.radius for name, each in seen.items()},
    noise=chosen(NOISES, "method.hire.noise", own.noise),
    framed=[n for n, each in seen.items() if each.encoder in FRAMED_ENCODERS],
    keep_membranes=own.keep_membranes,
    keep_noise=own.keep_noise,
  )


def _adversarial(
  inner: Callable[[Config, Network], Objective],
) -> Callable[[Config, Network], Method]:
  """A method of plain objectives on attacked inputs."""

  def build(config: Config, made: Network) -> Method:
    return methods.adversarial(
      inner(config, made),
      network=made,
      craft=functools.partial(_craft, config),
      rule=rule(config, config.model.rule),
    )

  return build


METHODS: Mapping[str, Callable[[Config, Network], Method | Objective]] = {
  "vanilla": _vanilla,
  "sr": _sr,
  "hire": _hire,
  "adversarial": _adversarial(_vanilla),
  "sr_adversarial": _adversarial(_sr),
}


def _craft(config: Config, logits_fn: LogitsFn) -> Attack:
  """The attack inside adversarial training: PGD, or FGSM for one step."""
  own, seen = config.method.adversarial, config.seen
  radii = {name: each.radius for name, each in seen.items()}
  threat = threat_of(own.norm, radii)
  if own.steps == 1:
    return attacks.fgsm(logits_fn, threat)
  return attacks.pgd(
    logits_fn,
    threat,
    step_size={name: each.step_size for name, each in seen.items()},
    steps=own.steps,
  )


def threat_of(norm: str, radii: Mapping[str, Any]) -> attacks.Threat:
  """Builds a threat of a radius per modality.

  One modality has no other beside which it must be weighed: its distances
  are in its own units, not in shares of its radius.
  """
  make = chosen(THREATS, "norm", norm)
  if len(radii) == 1:
    (radius,) = radii.values()
    return make(radius)
  return attacks.per_modality({name: make(r) for name, r in radii.items()})


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
