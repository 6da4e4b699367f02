"""The decisions about which classes there are examples of."""

from collections.abc import Mapping

from snnjax.checks.findings import Finding


def classes_missing(
  missing_classes: Mapping[str, int], num_classes: int
) -> Finding:
  """Fires if a part of the data has no example of some class.

  Args:
    missing_classes: by part, how many classes it has no example of.
    num_classes: number of classes.
  """
  counted = {
    f"{part}_classes_missing": count for part, count in missing_classes.items()
  }
  return Finding(
    any(missing_classes.values()), {**counted, "classes": num_classes}
  )


def one_class_alone(
  missing_classes: Mapping[str, int], num_classes: int
) -> Finding:
  """Fires if all examples of a part of the data are of one class.

  Args:
    missing_classes: by part, how many classes it has no example of.
    num_classes: number of classes.
  """
  present = {
    f"{part}_classes_present": num_classes - count
    for part, count in missing_classes.items()
  }
  alone = any(count <= 1 for count in present.values())
  return Finding(alone, {**present, "classes": num_classes})
