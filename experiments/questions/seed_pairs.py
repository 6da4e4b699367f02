"""Numbers of several arms, paired by the seed of their networks."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snnjax import replication

BySeed = Mapping[int, float]


class Paired(NamedTuple):
  """Numbers of several arms over the seeds that all of them have.

  Attributes:
    arms: of each arm, by seed; all have the same seeds.
    unpaired: of each arm, its seeds that another arm lacks.
    unknown: of each arm, its seeds whose number is not finite.
  """

  arms: Sequence[Mapping[int, float]]
  unpaired: Sequence[Sequence[int]]
  unknown: Sequence[Sequence[int]]


def paired(arms: Sequence[BySeed]) -> Paired:
  """Returns numbers over the seeds that all arms have.

  A number that is not finite is none: a network without a gradient, say.

  Args:
    arms: of each arm, by seed; at least one.
  """
  known = [
    {seed: value for seed, value in own.items() if math.isfinite(value)}
    for own in arms
  ]
  shared = [seed for seed in known[0] if all(seed in own for own in known)]
  return Paired(
    [{seed: own[seed] for seed in shared} for own in known],
    [[seed for seed in own if seed not in shared] for own in known],
    [
      [seed for seed in own if seed not in finite]
      for own, finite in zip(arms, known, strict=True)
    ],
  )


def difference(
  treated: BySeed, control: BySeed, alpha: float
) -> replication.Contrast | None:
  """Returns treated less control over the seeds of both.

  Args:
    treated: by seed.
    control: by seed.
    alpha: one less the confidence of the interval.

  Returns:
    None where fewer than two seeds have both.
  """
  own, other = paired((treated, control)).arms
  if len(own) < 2:
    return None
  return replication.paired_contrast(own, other, confidence=1 - alpha)
