"""Evidence on first-order theory: closed forms, and bounds of their ratio."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.building import build
from experiments.configuration.study import Claim, Protocol
from experiments.measuring import vulnerability_table
from experiments.measuring.named_arrays import KINDS
from experiments.questions import claim_evidence
from experiments.questions.claim_evidence import Context, Row
from experiments.questions.results import Measured
from snnjax import attacks, losses, vulnerability
from snnjax.interfaces import Array, Inputs, Key, Labels

_FUNCTIONS, _SIZE, _DRAWS, _RADIUS = 32, 48, 2000, 0.1
_SOURCE = "computed when the ledger is made: experiments/questions/"
_PLACE = _SOURCE + "theory_evidence.py"
# Digits that single precision gives on every machine, and what they resolve.
_DIGITS, _RESOLUTION = 4, 1e-4
# An example that does not move at all has no logarithm.
_LARGEST = float(np.log(1000.0))


class Linear(NamedTuple):
  """Measured over closed form of linear functions, logarithms by norm, [F].

  Attributes:
    random: of the mean square under noise.
    adversarial: of the largest square that projected ascent reaches.
  """

  random: Mapping[str, np.ndarray]
  adversarial: Mapping[str, np.ndarray]


@functools.cache
def linear() -> Linear:
  """Returns what the library measures of 32 linear functions of 48 inputs.

  Their gradients are normally distributed, with zeros among them. Numbers are
  rounded to four digits: their last bits are a machine's own.
  """
  key, kept = jax.random.split(jax.random.key(0))
  slopes = jax.random.normal(key, (_FUNCTIONS, _SIZE))
  # Of function i, (i + 1) / 32 of the inputs count.
  place = jnp.argsort(jax.random.uniform(kept, slopes.shape), axis=1)
  counts = (jnp.arange(_FUNCTIONS) + 1) * _SIZE / _FUNCTIONS
  slopes = jnp.where(place < counts[:, None], slopes, 0.0)
  inputs = jnp.full(slopes.shape, 0.5)
  labels = jnp.ones(_FUNCTIONS, jnp.int32)

  def rise(key: Key, inputs: Inputs, labels: Labels) -> Array:
    del key, labels
    return jnp.sum(slopes * jnp.asarray(inputs), axis=1)

  def logits(key: Key, inputs: Inputs) -> Array:
    return jnp.stack([rise(key, inputs, labels), jnp.zeros(_FUNCTIONS)], 1)

  random, adversarial = {}, {}
  for norm, order in vulnerability_table.ORDERS.items():
    theory = vulnerability.first_order(slopes, order)
    chance = vulnerability.random_vulnerability(
      rise, vulnerability.uniform(order, _RADIUS), draws=_DRAWS
    )
    attack = attacks.pgd(
      logits,
      build.THREATS[norm](_RADIUS),
      loss=losses.margin_loss,
      steps=20,
      random_start=False,
      keep=attacks.best_loss,
    )
    worst = vulnerability.adversarial_vulnerability(rise, attack)
    measured = jax.jit(chance)(jax.random.key(1), inputs, labels).mean
    random[norm] = _log_quotient(measured, theory.random)
    reached = jax.jit(worst)(jax.random.key(2), inputs, labels)
    adversarial[norm] = _log_quotient(reached, theory.adversarial)
  return Linear(random, adversarial)


def _log_quotient(measured: Array, unit: Array) -> np.ndarray:
  quotient = np.asarray(measured, np.float64) / np.asarray(unit, np.float64)
  return np.round(np.log(quotient / _RADIUS**2), _DIGITS)


def random_linear(context: Context, claim: Claim) -> list[Row]:
  """Random vulnerability of linear functions against the closed form."""
  del context
  return _linear_rows(claim, linear().random)


def adversarial_linear(context: Context, claim: Claim) -> list[Row]:
  """Adversarial vulnerability of linear functions against the closed form."""
  del context
  return _linear_rows(claim, linear().adversarial)


def _linear_rows(claim: Claim, by_norm: Mapping[str, np.ndarray]) -> list[Row]:
  return [
    Row(
      norm,
      claim_evidence.mean_estimate(claim, values.tolist(), _RESOLUTION),
      _PLACE,
      "linear function",
    )
    for norm, values in by_norm.items()
  ]


class _Vulnerabilities(NamedTuple):
  """Of the examples of one network that have a gradient, each [A]."""

  random: np.ndarray
  adversarial: np.ndarray
  first_random: np.ndarray
  first_adversarial: np.ndarray
  lower: np.ndarray
  upper: np.ndarray


def _read(
  protocol: Protocol, measured: Measured, norm: str, scale: int
) -> _Vulnerabilities | None:
  """None of a network of several modalities, which has several balls."""
  table = measured.arrays["gradients"].get("vulnerability")
  if table is None:
    return None
  own = table[protocol.norms.index(norm), scale].astype(np.float64)
  rows = dict(zip(KINDS, own, strict=True))
  known = np.isfinite(own).all(0) & (rows["first_random"] > 0)
  return _Vulnerabilities(**{kind: row[known] for kind, row in rows.items()})


def random_networks(context: Context, claim: Claim) -> list[Row]:
  """Random vulnerability of networks at the smallest radius measured."""
  return _network_rows(context, claim, "random")


def adversarial_networks(context: Context, claim: Claim) -> list[Row]:
  """Adversarial vulnerability of networks at the smallest radius measured."""
  return _network_rows(context, claim, "adversarial")


def _network_rows(context: Context, claim: Claim, kind: str) -> list[Row]:
  protocol = context.study.protocol
  smallest = int(np.argmin(protocol.scales))
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    for norm in protocol.norms:

      def middle(measured: Measured, norm: str = norm) -> float:
        own = _read(protocol, measured, norm, smallest)
        if own is None or not len(own.random):
          return float("nan")
        quotient = getattr(own, kind) / getattr(own, f"first_{kind}")
        with np.errstate(divide="ignore"):  # an example that does not move
          logs = np.log(quotient)
        return float(np.median(np.clip(logs, -_LARGEST, _LARGEST)))

      arms, note = claim_evidence.of_arms(context, claim, cell, middle)
      means = claim_evidence.mean_of(arms)
      if not (means or decides):
        continue  # several modalities: no such theory
      rows.append(
        Row(
          f"{cell.words}, {norm}",
          claim_evidence.mean_estimate(claim, list(means.values())),
          claim_evidence.artifact(cell, claim),
          note=claim_evidence.few_note(means, note),
          decides=decides,
          interval=claim_evidence.only_one(means),
        )
      )
  return rows


class _Shares(NamedTuple):
  """Of the examples of one network.

  Attributes:
    linear: of all, where first order holds.
    outside_linear: of those, outside the bounds.
    outside: of all, outside the bounds.
    linear_examples: in how many it holds.
    examples: how many there are.
  """

  linear: float
  outside_linear: float
  outside: float
  linear_examples: int
  examples: int


def _shares(protocol: Protocol, claim: Claim, own: _Vulnerabilities) -> _Shares:
  """Counts examples by the bounds, which are as wide as they must be.

  First order holds where the measured adversarial square agrees with it within
  the claim's factor: the ratio may then leave its bounds by that factor. The
  random one is a mean over few draws, whose quotient by its expectation lies
  within the quantiles of a chi-square's of as many degrees in 99 % of cases.
  One that noise does not move at all is outside.
  """
  draws = vulnerability_table.draws(protocol)
  least, most = (special.chdtri(draws, tail) / draws for tail in (0.995, 0.005))
  with np.errstate(divide="ignore", invalid="ignore"):  # not moved at all
    off = np.abs(np.log(own.adversarial / own.first_adversarial))
    ratio = own.adversarial / own.random
  linear_here = off <= np.log(claim.tolerance)
  slack = claim.tolerance
  inside = (ratio >= own.lower / most / slack) & (
    ratio <= own.upper / least * slack
  )
  count, linear_examples = len(ratio), int(linear_here.sum())
  nothing = float("nan")
  return _Shares(
    linear_examples / count if count else nothing,
    float(np.mean(~inside[linear_here])) if linear_examples else nothing,
    float(np.mean(~inside)) if count else nothing,
    linear_examples,
    count,
  )


def bound_where_linear(context: Context, claim: Claim) -> list[Row]:
  """Shares outside the bounds at the smallest radius, where theory applies."""
  scale = int(np.argmin(context.study.protocol.scales))
  return _bound_rows(context, claim, scale, "outside_linear", "linear_examples")


def bound_everywhere(context: Context, claim: Claim) -> list[Row]:
  """Shares of all examples outside the bounds at the attacks' radius."""
  scale = int(np.argmax(context.study.protocol.scales))
  return _bound_rows(context, claim, scale, "outside", "examples")


def _bound_rows(
  context: Context, claim: Claim, scale: int, field: str, of: str
) -> list[Row]:
  protocol = context.study.protocol
  share = f"{protocol.scales[scale]:g} of the attacks' radius"
  draws = vulnerability_table.draws(protocol)
  rows = []
  for cell, decides in claim_evidence.cells(context, claim).items():
    for norm in protocol.norms:

      def read(measured: Measured, field: str, norm: str = norm) -> float:
        own = _read(protocol, measured, norm, scale)
        if own is None:
          return float("nan")
        return float(getattr(_shares(protocol, claim, own), field))

      arms, note = claim_evidence.of_arms(
        context, claim, cell, functools.partial(read, field=field)
      )
      if not (arms[0] or decides):
        continue  # several modalities: no such theory
      means = claim_evidence.mean_of(arms)
      counts, _ = claim_evidence.of_arms(
        context, claim, cell, functools.partial(read, field=of)
      )
      total = int(sum(own[seed] for own in counts for seed in means))
      holds, _ = claim_evidence.of_arms(
        context, claim, cell, functools.partial(read, field="linear")
      )
      fails = claim_evidence.mean_of(holds)
      told = [
        claim_evidence.few_note(means, note),
        f"first order fails for {1 - np.mean(list(fails.values())):.1%} of the "
        f"examples at {share}"
        if fails
        else "",
        f"of {total} examples of all networks; bounds wider by a factor of "
        f"{claim.tolerance:g}, and by what a mean of {draws} draws "
        "is off in 99 % of cases"
        if total
        else "",
      ]
      rows.append(
        Row(
          f"{cell.words}, {norm}",
          claim_evidence.share_estimate(claim, list(means.values()), total),
          claim_evidence.artifact(cell, claim),
          note="; ".join(filter(None, told)),
          decides=decides,
          interval=claim_evidence.only_one(means),
        )
      )
  return rows
