"""The programs that all networks of one architecture are measured by."""

import jax

from experiments.building import build, networks
from experiments.building.shared import Shared
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.configuration.study import Protocol
from experiments.measuring import (
  gradient_table,
  recorded_attack,
  vulnerability_table,
)
from experiments.measuring.subject import Programs
from snnjax.interfaces import Forward, Inputs, Key, Network, Variables


def programs(
  config: Config, network: Network, protocol: Protocol, shared: Shared
) -> Programs:
  """Returns the programs for networks of one architecture.

  Args:
    config: of one of them.
    network: the architecture.
    protocol: how they are measured.
    shared: what other runs of this process built.
  """
  key = [settings.part(config, schema.MEASURED), config.data.name]
  return shared.get("questions", key, lambda: _built(config, network, protocol))


def _built(config: Config, network: Network, protocol: Protocol) -> Programs:
  own = config.model.rule
  rules = [own, *protocol.rules]
  for chain in protocol.chains.values():
    rules += [step.rule for step in chain]
  logits = {
    rule: networks.logits_under(network, build.rule(config, rule))
    for rule in dict.fromkeys(rules)
  }

  @jax.jit
  def forward(variables: Variables, key: Key, inputs: Inputs) -> Forward:
    rule = build.rule(config, own)
    return network.apply(variables, inputs, rule=rule, key=key)

  return Programs(
    logits,
    forward,
    gradient_table.program(),
    {norm: recorded_attack.program(norm, protocol) for norm in protocol.norms},
    {
      norm: vulnerability_table.program(norm, protocol)
      for norm in protocol.norms
    },
  )
