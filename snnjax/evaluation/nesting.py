"""The worst case over balls that lie inside each other.

What is adversarial in a ball is adversarial in every ball that holds it: a
worst case at one radius counts the successes at the smaller ones, and one over
several modalities those over each alone. So it never rises with the radius,
however an attack fares at each.
"""

from collections.abc import Mapping, Sequence

from snnjax.evaluation.records import Evaluation

Radii = float | Mapping[str, float]  # one for all, or one per modality


def holds(outer: Radii, inner: Radii) -> bool:
  """Returns whether the ball of some radii holds that of others.

  Both are about the same input and norm; a modality that is not attacked has
  radius 0.

  Args:
    outer: one radius, or one per modality.
    inner: the same of the ball that may lie inside.

  Raises:
    ValueError: the radii are of different modalities.
  """
  if not isinstance(outer, Mapping) and not isinstance(inner, Mapping):
    return inner <= outer
  large, small = (
    dict(radii) if isinstance(radii, Mapping) else None
    for radii in (outer, inner)
  )
  if large is None or small is None or set(large) != set(small):
    raise ValueError(
      "radii must be of the same modalities, 0 where one is not attacked; got "
      f"{outer!r} and {inner!r}"
    )
  return all(small[name] <= large[name] for name in large)


def nested(
  evaluation: Evaluation, attacks: Sequence[str], radii: Mapping[str, Radii]
) -> Evaluation:
  """Returns the evaluation with some attacks and all inside their balls.

  Its `worst` and `summarize` are the worst case in the balls of `attacks`:
  with smaller radii it is never lower. The attacks keep their order.

  Args:
    evaluation: under one norm.
    attacks: whose balls are asked about; none keeps none.
    radii: by attack, of every one that may count.

  Raises:
    KeyError: an attack of `attacks` has no radii, or was not run.
    ValueError: radii are of different modalities.
  """
  asked = {name: evaluation.attacks[name] for name in attacks}
  kept = {
    name: outcome
    for name, outcome in evaluation.attacks.items()
    if name in asked
    or (name in radii and any(holds(radii[a], radii[name]) for a in asked))
  }
  return evaluation._replace(attacks=kept)
