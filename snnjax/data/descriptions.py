"""Checks the description files of a prepared set before TFDS opens them.

TFDS builds features from class names in these files, and imports the module
of a class that it does not know: a file of the set could choose code to run.
TFDS also believes every size in them. A prepared set may come from somebody
else, so only class names of TFDS itself, file names beside the description
and bounded counts are let through.
"""

import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from snnjax.storage import files

FEATURES = "features.json"
INFO = "dataset_info.json"
_PLACE = "tensorflow_datasets.core.features."
KNOWN = frozenset(
  f"{_PLACE}{name}"
  for name in (
    "audio_feature.Audio",
    "bounding_boxes.BBoxFeature",
    "class_label_feature.ClassLabel",
    "dataset_feature.Dataset",
    "feature.Tensor",
    "features_dict.FeaturesDict",
    "image_feature.Image",
    "labeled_image.LabeledImage",
    "scalar.Scalar",
    "sequence_feature.Sequence",
    "tensor_feature.Tensor",
    "text_feature.Text",
    "translation_feature.Translation",
    "translation_feature.TranslationVariableLanguages",
    "video_feature.Video",
  )
)
# As JSON and as protocol buffers spell it, and as TFDS wrote it before 4.
_NAMES = ("pythonClassName", "python_class_name", "type")
_JSON = "json"  # a text that TFDS reads as JSON again
_PATHS = ("names_file", "namesFile")
_TEMPLATES = ("filepathTemplate", "filepath_template")
_TEMPLATE = re.compile(r"[\w{}.-]*")
_CLASSES = ("numClasses", "num_classes")
_MOST_CLASSES = 100_000
_MOST_PIXELS = 1 << 26  # bytes of one image


def check(folder: pathlib.Path) -> None:
  """Raises unless a set's description is safe for TFDS to open.

  Args:
    folder: of one version of a prepared set.

  Raises:
    ValueError: a file names a class that TFDS does not have, or a path
      elsewhere, or a count over the limit; the message names the file.
    OSError: a file cannot be read.
  """
  for name in (FEATURES, INFO):
    path = folder / name
    if path.exists():
      _check(path, files.read_json(path))


def check_shape(name: str, shape: tuple[int, ...]) -> None:
  """Raises ValueError if an image of this shape is empty or over the limit.

  Args:
    name: of the set, for the message.
    shape: (H, W, C).
  """
  if min(shape) < 1 or math.prod(shape) > _MOST_PIXELS:
    raise ValueError(
      f"{name}: an image must have 1 to {_MOST_PIXELS:,} bytes; it has the "
      f"shape {shape}"
    )


def _check(path: pathlib.Path, value: Any) -> None:
  def refuse(what: str, got: Any) -> ValueError:
    return ValueError(
      f"{path} must {what}; it names {str(got)[:120]!r}: prepare the set anew "
      "from its source"
    )

  for key, entry in _pairs(value):
    if key in _NAMES and isinstance(entry, str) and entry not in KNOWN:
      raise refuse("name features that TFDS itself has", entry)
    if key in _PATHS:
      raise refuse("hold its classes' names beside it", entry)
    if key in _TEMPLATES and not _TEMPLATE.fullmatch(str(entry)):
      raise refuse("hold its shards beside it", entry)
    if key in _CLASSES and not _is_count(entry, _MOST_CLASSES):
      raise refuse(f"have at most {_MOST_CLASSES:,} classes", entry)


def _is_count(value: Any, most: int) -> bool:
  try:
    return 0 <= int(value) <= most
  except (TypeError, ValueError):
    return False


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
  """Yields every key with its value, at any depth, in nested JSON too."""
  left = [value]
  while left:
    match left.pop():
      case Mapping() as group:
        yield from group.items()
        left += group.values()
        if isinstance(inner := group.get(_JSON), str):
          left.append(_inner(inner))
      case list() as several:
        left += several


def _inner(text: str) -> Any:
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None  # TFDS refuses it too
