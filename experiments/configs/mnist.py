"""One small network on all of MNIST.

Prepare what was downloaded, then train:

    python -m experiments.prepare_data --source=FOLDER --name=mnist
    python -m experiments.train --config=mnist --workdir=DIR

``--config.data.name=fashion_mnist`` is the other data set of this shape.
"""

from experiments.configuration.schema import (
  Config,
  Data,
  Evaluation,
  Events,
  Image,
  Modalities,
  Radii,
  Train,
)


def get_config() -> Config:
  """Returns the configuration for 28x28 grey images."""
  radii = Radii(
    linf=(0.1, 0.2, 0.3),
    l2=(0.5, 1.0, 2.0),
    l1=(5.0, 10.0, 20.0),
    l0=(5, 10, 20),
  )
  return Config(
    data=Data(name="mnist"),
    modalities=Modalities(
      image=Image(epsilons=radii), events=Events(epsilons=radii)
    ),
    train=Train(epochs=10),
    evaluation=Evaluation(examples=1024),
  )
