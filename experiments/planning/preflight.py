"""What is checked before a byte is written: all that needs no data."""

from experiments.building import build, networks, training_methods
from experiments.command import exits
from experiments.configuration import validity
from experiments.configuration.schema import Config
from experiments.planning import attack_grid, suites
from snnjax.kernels import scan


def check(config: Config) -> None:
  """Raises unless a run can be trained, and then evaluated, as configured.

  Args:
    config: the whole configuration.

  Raises:
    UsageError: a value is not allowed, or values do not fit each other.
  """
  validity.check(config)
  with exits.blame_configuration():
    training_methods.method(config, networks.network(config, 2))
    build.optimizer(config, 1)
  resolved(config)


def resolved(config: Config) -> Config:
  """Returns the configuration of an evaluation, all that its suite says in it.

  Args:
    config: the whole configuration; ``evaluation.suite`` names the suite.

  Raises:
    UsageError: a value is not allowed, there is no such suite, or it asks for
      what is not allowed.
  """
  validity.check(config)
  whole = suites.resolved(config)
  with exits.blame_configuration():
    attack_grid.plan(whole)
    scan.form_of(whole.evaluation.kernel)
  return whole
