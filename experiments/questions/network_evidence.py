"""Evidence from attacks on trained networks: contrasts over seeds."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.configuration import study as studies
from experiments.configuration.study import Claim, Study
from experiments.measuring.named_arrays import ATTACK
from experiments.questions import claim_evidence, network_numbers, seed_pairs
from experiments.questions.claim_evidence import Context, Number, Row
from experiments.questions.network_numbers import Cell
from experiments.questions.results import Measured
from experiments.questions.seed_pairs import BySeed


def weak_attacks(context: Context, claim: Claim) -> list[Row]:
  """A contrast of two arms under FGSM and under PGD-10."""
  return _arm_rows(context, claim, {"FGSM": "fgsm", "PGD-10": "pgd10"})


def strong_attacks(context: Context, claim: Claim) -> list[Row]:
  """A contrast of two arms under the chain of linf attacks."""
  return _arm_rows(context, claim, {"chain": _chain(context.study)})


def _chain(study: Study) -> str:
  return f"robust/linf/{study.protocol.level}"


def _arm_rows(
  context: Context, claim: Claim, measures: Mapping[str, str]
) -> list[Row]:
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    for title, name in measures.items():
      (treated, control), note = claim_evidence.of_arms(
        context, claim, cell, _number(context.study, name)
      )
      rows.append(
        _row(claim, cell, title, treated, control, note, decides=decides)
      )
  return rows


def _number(study: Study, name: str) -> Number:
  return functools.partial(_read, study, name)


def _read(study: Study, name: str, measured: Measured) -> float:
  return network_numbers.number(study, measured, name)


def _row(
  claim: Claim,
  cell: Cell,
  title: str,
  treated: BySeed,
  control: BySeed,
  note: str,
  *,
  decides: bool,
) -> Row:
  """A difference over seeds, in one cell."""
  return Row(
    f"{cell.words}, {title}",
    seed_pairs.difference(treated, control, claim.alpha),
    claim_evidence.artifact(cell, claim),
    note=claim_evidence.few_note(treated, note),
    decides=decides,
    interval=claim_evidence.only_one(
      {seed: treated[seed] - control[seed] for seed in treated}
    ),
  )


def random_resilience(context: Context, claim: Claim) -> list[Row]:
  """Accuracy left by noise at the largest radius, less by the attack."""
  study = context.study
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    noise, note = claim_evidence.of_arms(
      context, claim, cell, functools.partial(_left_by_noise, study)
    )
    attack, _ = claim_evidence.of_arms(
      context, claim, cell, _number(study, _chain(study))
    )
    rows.append(
      _row(
        claim,
        cell,
        "noise at the largest radius, attack at the middle one",
        claim_evidence.mean_of(noise),
        claim_evidence.mean_of(attack),
        note,
        decides=decides,
      )
    )
  return rows


def _left_by_noise(study: Study, measured: Measured) -> float:
  """The accuracy left by random noise at the largest radius."""
  radii = studies.check_radii(study, measured.member)["linf"]
  return network_numbers.number(study, measured, f"random/{len(radii) - 1}")


def overestimated(context: Context, claim: Claim) -> list[Row]:
  """Accuracy left by the training rule's PGD, less by the whole chain."""
  study = context.study
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    one, note = claim_evidence.of_arms(
      context,
      claim,
      cell,
      _number(study, f"first/linf/{study.protocol.level}"),
    )
    chain, _ = claim_evidence.of_arms(
      context, claim, cell, _number(study, _chain(study))
    )
    own = claim_evidence.mean_of(one), claim_evidence.mean_of(chain)
    title = "mean over arms" if len(claim.arms) > 1 else claim.arms[0]
    rows.append(_row(claim, cell, title, *own, note, decides=decides))
  return rows


class _Curve(NamedTuple):
  """What attacks of one norm leave, by how visible they are.

  Attributes:
    visible: rising, 0 first: nothing is changed.
    left: accuracies.
    usual: how visible the attack is at the radius of the measurement.
  """

  visible: Sequence[float]
  left: Sequence[float]
  usual: float


def _curve(
  study: Study, measured: Measured, norm: str, measure: str
) -> _Curve | None:
  """None where nobody measured how visible attacks of this norm are.

  What is visible of an attack is measured at one radius; at the others it is
  in proportion to the radius, as every distance of one and the same change is.
  """
  level = study.protocol.level
  radii = studies.check_radii(study, measured.member).get(norm)
  seen = _seen(study, measured, norm, measure)
  if seen is None or radii is None:
    return None
  gradients = measured.arrays["gradients"]
  arrays = measured.arrays.get("transfer", gradients)
  examples = len(
    arrays.get(
      ATTACK.format(norm=norm, level=level, field="success"), gradients["label"]
    )
  )
  right = gradients["correct"][:examples]
  points = {0.0: float(right.mean())}
  for position, radius in enumerate(radii):
    path = ATTACK.format(norm=norm, level=position, field="success")
    if path in arrays:
      share = float(np.mean(right & ~arrays[path][:examples]))
      points[seen * radius / radii[level]] = share
  if len(points) == 1:
    return None
  visible = sorted(points)
  return _Curve(visible, [points[v] for v in visible], seen)


def _seen(
  study: Study, measured: Measured, norm: str, measure: str
) -> float | None:
  """How visible the worst attack of a norm is, over examples right before."""
  fields = ["visibility/image"]
  if measure == "length":
    fields = [f"distance/{name}" for name in measured.member.modalities]
  paths = [
    ATTACK.format(norm=norm, level=study.protocol.level, field=field)
    for field in fields
  ]
  for arrays in measured.arrays.values():
    if all(path in arrays for path in paths):
      parts = np.stack([arrays[path] for path in paths]).astype(np.float64)
      whole = np.linalg.norm(parts, axis=0)  # lengths of parts of one vector
      right = measured.arrays["gradients"]["correct"][: len(whole)]
      return float(np.mean(whole[right]))
  return None


def _matched(
  study: Study, norm: str, measure: str, measured: Measured
) -> float:
  """Accuracy left by another norm, less by linf, at equal visibility.

  That of linf at the radius of the measurement, or the largest that the other
  norm reaches; linear between what is measured. NaN where one has no curve.
  """
  own = _curve(study, measured, "linf", measure)
  other = _curve(study, measured, norm, measure)
  if own is None or other is None:
    return float("nan")
  at = min(own.usual, other.visible[-1])
  return float(
    np.interp(at, other.visible, other.left)
    - np.interp(at, own.visible, own.left)
  )


def norms_compared(context: Context, claim: Claim) -> list[Row]:
  """What linf attacks leave, against others that are as visible.

  Two measures: the perceptual distance of the image (Luo et al. 2018, arXiv
  1801.04693) decides; the l2 length of the change, which l2 attacks are the
  best for by definition, is told beside.
  """
  study = context.study
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    for measure in ("perceptual", "length"):
      if measure == "perceptual" and "image" not in cell.modalities:
        continue
      for norm in ("l2", "l0", "l1"):
        arms, note = claim_evidence.of_arms(
          context,
          claim,
          cell,
          functools.partial(_matched, study, norm, measure),
        )
        difference = claim_evidence.mean_of(arms)
        nothing = dict.fromkeys(difference, 0.0)
        words = "perceptual distance" if measure == "perceptual" else "length"
        counts = decides and measure == "perceptual" and norm != "l1"
        rows.append(
          _row(
            claim,
            cell,
            f"{norm} at equal {words}",
            difference,
            nothing,
            note,
            decides=counts,
          )
        )
  return rows
