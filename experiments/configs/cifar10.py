"""A small network on CIFAR-10; ``--config=cifar10:vgg11`` is SR's VGG-11.

    python -m experiments.prepare_data --source=ARCHIVE --name=cifar10
    python -m experiments.train --config=cifar10 --workdir=DIR

SVHN and CIFAR-100 have images of the same size: set ``--config.data.name``.

References:
  Liu et al. 2024 (SR), arXiv 2405.20355, for the network and its training.
"""

import ml_collections

from experiments.configs import base


def get_config(network: str = "cnn") -> ml_collections.ConfigDict:
  """Returns the configuration for 32x32 colour images.

  Args:
    network: "cnn", which a laptop trains, or "vgg11", which takes a GPU.

  Raises:
    ValueError: another name.
  """
  config = base.get_config()
  config.data.name = "cifar10"
  config.data.augment = "crop_flip"
  config.model.standardize.mean = (0.4914, 0.4822, 0.4465)
  config.model.standardize.std = (0.2470, 0.2435, 0.2616)
  config.evaluation.examples = 1024
  config.evaluation.epsilons.image = (2 / 255, 8 / 255)
  if network == "cnn":
    config.model.channels = (32, 64, 128)
    config.model.hidden = (128,)
    config.model.norm = True
    config.train.epochs = 30
  elif network == "vgg11":
    config.model.kind = "vgg11"
    config.model.hidden = (4096, 4096)
    config.optimizer.kind = "sgd"
    config.optimizer.learning_rate = 0.1
    config.optimizer.weight_decay = 5e-4
    config.train.epochs = 200
  else:
    raise ValueError(f"network must be 'cnn' or 'vgg11'; got {network!r}")
  return config
