"""From names and numbers of a configuration to the library's functions.

Every table maps the names that a configuration may use to a constructor; an
unknown name is answered with the known ones.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from experiments.configuration.schema import Config
from snnjax import (
  attacks,
  backward,
  losses,
  neurons,
  prng,
  surrogates,
)
from snnjax.backward import assg, pdsg
from snnjax.interfaces import (
  Array,
  BackwardRule,
  Inputs,
  Key,
  Network,
  Trace,
  Variables,
)
from snnjax.kernels import scan
from snnjax.storage import environment

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


DENSE_THREATS: Mapping[str, Callable[..., attacks.Threat]] = {
  "linf": attacks.linf,
  "l2": attacks.l2,
  "l1": attacks.l1,
}
THREATS: Mapping[str, Callable[..., attacks.Threat]] = {
  **DENSE_THREATS,
  "l0": attacks.l0,
}


def chosen(table: Mapping[str, Any], key: str, name: str) -> Any:
  """Returns the table's entry `name`.

  Raises:
    ValueError: if there is none; it names the key and the known names.
  """
  if name not in table:
    raise ValueError(f"{key} must be one of {sorted(table)}; got {name!r}")
  return table[name]


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
    neuron: neurons.Neuron,
    currents: jax.Array,
    state: Any | None = None,
    layer: str = "",
  ) -> Trace:
    again = jax.checkpoint(functools.partial(self.rule, neuron, layer=layer))
    return again(currents, state)

  @property
  def batch_statistics(self) -> bool:
    return backward.depends_on_batch(self.rule)


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


def threat_of(norm: str, radii: Mapping[str, Any]) -> attacks.Threat:
  """Builds a threat of a radius per modality.

  One modality has no other beside which it must be weighed: its distances
  are in its own units, not in shares of its radius.
  """
  return threat_with(chosen(THREATS, "norm", norm), radii)


def threat_with(
  make: Callable[[Any], attacks.Threat], radii: Mapping[str, Any]
) -> attacks.Threat:
  """Returns `threat_of`, with ``radius -> threat`` in place of a name."""
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


def precision(config: Config) -> dict[str, str]:
  """Returns how exactly products of a run are computed, by purpose."""
  return {
    "training": config.precision,
    "finite differences in training": config.method.sr.precision,
    "attacks and measurements": config.evaluation.precision,
  }


def kernel(config: Config) -> dict[str, str]:
  """Returns how neurons of a run are computed, by purpose."""
  chosen_kernels = {
    "training": config.kernel,
    "attacks and measurements": config.evaluation.kernel,
  }
  return {
    purpose: scan.form_of(name) if name == "auto" else name
    for purpose, name in chosen_kernels.items()
  }


def environment_of(config: Config, mesh: Mesh | None = None) -> dict[str, Any]:
  """Returns what a run was made in, and how it computes.

  Args:
    config: the whole configuration.
    mesh: of the devices it uses; None is one.
  """
  return environment.describe(
    config.seed, precision(config), kernel(config), mesh
  )


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
