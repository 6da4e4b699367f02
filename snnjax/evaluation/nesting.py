"""The worst case over balls that lie inside each other.

An adversarial example in one ball lies in every larger ball around it as well.
The worst case at a radius therefore counts the successes at smaller radii, and
that over several modalities the successes on each alone. So the accuracy never
rises with the radius, even if an attack does worse at the larger one.
"""

from collections.abc import Mapping, Sequence

from snnjax.evaluation.records import Evaluation

Radii = float | Mapping[str, float]  # one for all, or one per modality


def contains_ball(outer: Radii, inner: Radii) -> bool:
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


def with_inner_balls(
  evaluation: Evaluation, attacks: Sequence[str], radii: Mapping[str, Radii]
) -> Evaluation:
  """Returns the evaluation with `attacks` and all attacks in their balls.

  Its `worst` and `summarize` are the worst case in the balls of `attacks`:
  with smaller radii it is never lower. The attacks keep their order.

  Args:
    evaluation: under one norm.
    attacks: names of those whose balls count; without any, none is kept.
    radii: by name, of every attack that may be counted.

  Raises:
    KeyError: an attack of `attacks` has no radii, or was not run.
    ValueError: radii are of different modalities.
  """
  on_the_ball = {name: evaluation.attacks[name] for name in attacks}
  inside = {
    name: outcome
    for name, outcome in evaluation.attacks.items()
    if name in on_the_ball
    or (
      name in radii
      and any(contains_ball(radii[a], radii[name]) for a in on_the_ball)
    )
  }
  return evaluation._replace(attacks=inside)
