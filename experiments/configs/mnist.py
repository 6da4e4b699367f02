"""One small network on all of MNIST.

Prepare what was downloaded, then train:

    python -m experiments.prepare_data --source=FOLDER --name=mnist
    python -m experiments.train --config=mnist --workdir=DIR

``--config.data.name=fashion_mnist`` is the other data set of this shape.
"""

import ml_collections

from experiments.configs import base


def get_config() -> ml_collections.ConfigDict:
  """Returns the configuration for 28x28 grey images."""
  config = base.get_config()
  config.data.name = "mnist"
  config.train.epochs = 10
  config.evaluation.examples = 1024
  config.evaluation.epsilons.image = (0.1, 0.2, 0.3)
  config.evaluation.epsilons.events = (0.1, 0.2, 0.3)
  return config
