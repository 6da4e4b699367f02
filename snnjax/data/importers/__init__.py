"""Downloads in their publishers' formats, written as prepared data sets."""

from snnjax.submodules import lazily

__all__ = [
  "archives",
  "array_record",
  "cifar",
  "downloads",
  "emnist",
  "file_trees",
  "idx",
  "image_folders",
  "matlab",
  "nmnist",
  "plain_pickle",
  "prepare",
  "split_names",
  "svhn",
]

__getattr__, __dir__ = lazily(__name__, __all__)
