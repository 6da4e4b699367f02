"""Downloads in their publishers' formats, written as prepared data sets."""

from snnjax.submodules import lazily

__all__ = [
  "archives",
  "array_record",
  "cifar",
  "cifar10_dvs",
  "downloads",
  "dvs_gesture",
  "emnist",
  "event_sets",
  "file_trees",
  "idx",
  "image_folders",
  "matlab",
  "nmnist",
  "plain_pickle",
  "prepare",
  "sources",
  "split_names",
  "svhn",
]

__getattr__, __dir__ = lazily(__name__, __all__)
