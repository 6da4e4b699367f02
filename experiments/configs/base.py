"""Every key with its default: one small image network on the digits."""

from experiments.configuration.schema import Config


def get_config() -> Config:
  """Returns the defaults, from which the other configurations differ."""
  return Config()
