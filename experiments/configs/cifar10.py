"""A small network on CIFAR-10; ``--config=cifar10:vgg11`` is SR's VGG-11.

    python -m experiments.prepare_data --source=ARCHIVE --name=cifar10
    python -m experiments.train --config=cifar10 --workdir=DIR

SVHN and CIFAR-100 have images of the same size: set ``--config.data.name``.

References:
  Liu et al. 2024 (SR), arXiv 2405.20355, for the network and its training.
"""

from dataclasses import replace

from experiments.configuration.schema import (
  Config,
  Data,
  Evaluation,
  Image,
  Modalities,
  Model,
  Optimizer,
  Radii,
  Standardize,
  Train,
)


def get_config(network: str = "cnn") -> Config:
  """Returns the configuration for 32x32 colour images.

  Args:
    network: "cnn", which a laptop trains, or "vgg11", which takes a GPU.

  Raises:
    ValueError: another name.
  """
  common = Config(
    data=Data(name="cifar10", augment="crop_flip"),
    modalities=Modalities(
      image=Image(
        channels=(32, 64, 128),
        standardize=Standardize(
          mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
        ),
        epsilons=Radii(
          linf=(2 / 255, 8 / 255), l2=(0.25, 0.5), l1=(5.0, 12.0), l0=(12, 24)
        ),
      )
    ),
    evaluation=Evaluation(examples=1024),
  )
  if network == "cnn":
    return replace(
      common, model=Model(hidden=(128,), norm=True), train=Train(epochs=30)
    )
  if network == "vgg11":
    return replace(
      common,
      model=Model(kind="vgg11", hidden=(4096, 4096)),
      optimizer=Optimizer(kind="sgd", learning_rate=0.1, weight_decay=5e-4),
      train=Train(epochs=200),
    )
  raise ValueError(f"network must be 'cnn' or 'vgg11'; got {network!r}")
