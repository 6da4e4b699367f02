"""Three small image+event networks on the embedded digits, in minutes."""

from experiments.configuration.schema import (
  Config,
  Data,
  Evaluation,
  Events,
  Image,
  Method,
  Modalities,
  Model,
  Optimizer,
  Radii,
  Sr,
)


def get_config() -> Config:
  """Returns the quickstart's configuration."""
  channels = (8, 16)
  return Config(
    data=Data(
      modalities=("image", "events"),
      train_examples=3000,
      test_examples=256,
      validation=0.0,
    ),
    modalities=Modalities(
      image=Image(channels=channels, epsilons=Radii(linf=(0.1, 0.2))),
      events=Events(
        channels=channels, shrink=2, epsilons=Radii(linf=(0.1, 0.3))
      ),
    ),
    model=Model(steps=4),
    method=Method(sr=Sr(weight=0.05)),
    optimizer=Optimizer(learning_rate=3e-3),
    evaluation=Evaluation(
      examples=104, microbatch=104, alarm_examples=16, alarm_pairs=0
    ),
    compared=("vanilla", "hire", "sr"),
  )
