"""Three small image+event networks on the embedded digits, in minutes."""

import ml_collections

from experiments.configs import base


def get_config() -> ml_collections.ConfigDict:
  """Returns the quickstart's configuration."""
  config = base.get_config()
  config.data.modality = "both"
  config.data.train_examples = 3000
  config.data.test_examples = 256
  config.data.validation = 0.0
  config.model.channels = (8, 16)
  config.model.hidden = (64,)
  config.model.steps = 4
  config.model.event_shrink = 2
  config.optimizer.learning_rate = 3e-3
  config.train.epochs = 3
  config.evaluation.examples = 104
  config.evaluation.epsilons.image = (0.1, 0.2)
  config.evaluation.epsilons.events = (0.1, 0.3)
  config.evaluation.microbatch = 104
  config.evaluation.alarm_examples = 16
  config.evaluation.alarm_pairs = 0
  config.compared = ("vanilla", "hire", "sr")  # of the networks below
  config.networks = ml_collections.ConfigDict(
    {
      "vanilla": {"kind": "vanilla"},
      "hire": {"kind": "hire"},
      "sr": {"kind": "sr", "weight": 0.05},
    }
  )
  return config
