"""From a configuration to data, networks, methods and optimizers."""
