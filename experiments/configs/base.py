"""Every key that the binaries know, with its default: one image network."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults that the other configurations change."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.data = ml_collections.ConfigDict(
    {
      "name": "digits",  # the embedded MNIST subset, or a prepared data set
      "data_dir": "",  # where prepared data sets lie; "" is TFDS's default
      "seed": 0,  # which examples a part takes: one for all networks compared
      "modality": "image",  # "image", "events" or "both"
      "train_examples": 0,  # 0 takes all
      "test_examples": 0,
      "validation": 0.1,  # share of the training examples held out
      "event_step_us": 5000,  # time step of the event simulator
      "event_cap": 2,  # counts from which an event pixel is full
      "augment": "none",  # "none", "crop_flip" or "crop_flip_cutout"
      "stream": False,  # training images stay on the disk, read by grain
    }
  )
  config.model = ml_collections.ConfigDict(
    {
      "kind": "cnn",
      "channels": (16, 32),
      "hidden": (64,),
      "steps": 8,
      "event_shrink": 1,  # pool of event frames before the first convolution
      "norm": False,
      # Of the images' channels; radii stay in pixels. () does nothing.
      "standardize": {"mean": (), "std": ()},
      "encoder": "direct",
      "readout": "mean",
      "rule": "bptt_triangle",
      "detach_reset": False,
      "remat": False,  # compute neurons twice rather than keep their states
      "neuron": {
        "kind": "lif",
        "leak": 0.5,
        "threshold": 1.0,
        "reset": "hard",
      },
    }
  )
  config.method = ml_collections.ConfigDict(
    {
      "kind": "vanilla",
      # Sparse-gradient regularisation.
      "weight": 0.001,
      "difference": 0.01,
      "estimator": "finite_difference",
      "direction": "l1",
      "shape": "squared",
      "confidence": "rival_probability",
      # HIRE-style periods, and the radii of adversarial training.
      "periods": 2,
      "noise": "crafted",
      "keep_membranes": True,
      "keep_noise": False,
      "radius": {"image": 0.1, "events": 0.1},
      "step_size": {"image": 0.05, "events": 0.05},
      "norm": "linf",
      "attack_steps": 7,
    }
  )
  config.optimizer = ml_collections.ConfigDict(
    {
      "kind": "adam",
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "weight_decay": 0.0,
    }
  )
  config.train = ml_collections.ConfigDict(
    {
      "batch_size": 64,
      "epochs": 3,
      "log_every": 10,  # steps between lines of metrics.jsonl
      "checkpoint_every": 100,  # steps; every epoch's end is one too
      "select": "last",  # "last" epoch, or best on "validation"
      "tensorboard": False,
    }
  )
  config.evaluation = ml_collections.ConfigDict(
    {
      "suite": "quick",  # a file of configs/suites, or of your own
      "examples": 0,  # of the test split, 0 takes all
      "microbatch": 64,
      "steps": 20,
      "norm": "linf",
      "epsilons": {"image": (0.05, 0.1), "events": (0.05, 0.1)},
      "rules": ("bptt_triangle", "bptt_atan", "rga", "hart_atan"),
      "random_draws": 10,
      "shown": 6,  # examples whose gradients the report shows
      "alarm_examples": 32,  # attacked again for the alarms; 0 does not
      "alarm_pairs": 16,  # of queries, for a step without a gradient; or 0
    }
  )
  # What only its authors know of a network; see snnjax.report.leaderboard.
  config.leaderboard = ml_collections.ConfigDict(
    {
      "name": "",  # of the entry; "" is the name of the run's folder
      "title": "",
      "link": "",
      "authors": "",
      "venue": "Unpublished",
      "footnote": "",
      "architecture": "",  # "" is composed of the configuration
      "additional_data": False,  # trained on more than the data set
      "reported": -1.0,  # robust accuracy claimed elsewhere; -1 is none
    }
  )
  return config
