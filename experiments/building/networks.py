"""Networks of what a configuration sees."""

from collections.abc import Callable, Mapping

import jax

from experiments.building import build
from experiments.configuration.schema import Config, Floats, Modality
from snnjax import encoders, models, neurons, readouts
from snnjax.interfaces import (
  Array,
  BackwardRule,
  Forward,
  Inputs,
  Key,
  Network,
  State,
  Variables,
)
from snnjax.kernels import scan
from snnjax.models.layers import BatchNorm

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


def neuron(config: Config) -> neurons.Neuron | neurons.Trainable:
  """Builds the neuron of ``config.model.neuron``."""
  made = config.model.neuron
  reset = build.chosen(RESETS, "model.neuron.reset", made.reset)
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
  return build.chosen(kinds, "model.neuron.kind", made.kind)()


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
  kind = build.chosen(_KINDS, "model.kind", config.model.kind)
  return _naming(name, kind(config, own, _encoder(config, name, own), classes))


def as_trained(config: Config, network: Network) -> Network:
  """Returns the network as ``config.precision`` and ``config.kernel`` say.

  Raises:
    ValueError: the device has no such kernel.
  """
  return _computed(network, config.precision, config.kernel)


def as_measured(config: Config, network: Network) -> Network:
  """Returns it as the keys of the same names of ``config.evaluation`` say.

  Raises:
    ValueError: the device has no such kernel.
  """
  own = config.evaluation
  return _computed(network, own.precision, own.kernel)


def _computed(network: Network, precision: str, kernel: str) -> Network:
  exact = models.at_precision(network, precision)
  return models.with_kernel(exact, scan.form_of(kernel))


def logits_under(
  network: Network, rule: BackwardRule
) -> Callable[[Variables, Key, Inputs], jax.Array]:
  """Returns ``(variables, key, inputs) -> logits [B, C]`` under a rule.

  With the variables as an argument, networks of one architecture share the
  programs that are compiled of it.
  """

  def logits(variables: Variables, key: Key, inputs: Inputs) -> jax.Array:
    return models.classifier(network, variables, rule=rule)(key, inputs)

  return logits


def _check_entrance(config: Config, name: str, own: Modality) -> None:
  """Raises unless a network of this kind has what a modality asks for."""
  mean, std = own.standardize.mean, own.standardize.std
  kind = config.model.kind
  key = f"modalities.{name}.standardize"
  if len(mean) != len(std) or not all(value > 0 for value in std):
    raise ValueError(
      f"{key} must have as many means as stds, which are above 0; got {mean} "
      f"and {std}"
    )
  if mean and kind == "mlp":
    raise ValueError(
      f"{key} must be empty but for convolutional networks; got {mean} for "
      f"{kind!r}"
    )
  if own.shrink > 1 and kind != "cnn":
    raise ValueError(
      f"modalities.{name}.shrink must be 1 for {kind!r}; got {own.shrink}"
    )


def _encoder(config: Config, name: str, own: Modality) -> encoders.Encoder:
  key = f"modalities.{name}.encoder"
  return build.chosen(ENCODERS, key, own.encoder)(config.model.steps)


def _readout(config: Config) -> readouts.Readout:
  return build.chosen(READOUTS, "model.readout", config.model.readout)()


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
    standardize={
      name: statistics
      for name, own in seen.items()
      if (statistics := _standardized(own))
    },
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
    precision: str | None = None,
    kernel: str | None = None,
  ) -> Forward:
    return inner.apply(
      variables,
      _named(name, inputs),
      rule=rule,
      key=key,
      train=train,
      states=states,
      window=window,
      precision=precision,
      kernel=kernel,
    )

  return Network(init, apply)


def _named(name: str, inputs: Inputs) -> Array:
  """The array of the only modality."""
  arrays = build.by_modality(inputs)
  if set(arrays) != {name}:
    raise ValueError(
      f"inputs must have the modality {name!r}; got {sorted(arrays)}"
    )
  return arrays[name]
