"""Measures what the alarms look at, by attacking a network in many ways.

Each function fills some fields of `Measurements`; `measure` runs them all. They
attack all examples at once: give them a part of the test set.
"""

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, losses, random
from snnjax.attacks import flat
from snnjax.checks.alarms import Measurements
from snnjax.checks.subject import (
  Examples,
  Subject,
  accuracy_of,
  compiled,
  gradient_free,
  iterated,
  judge,
  keys_of,
  mean,
)
from snnjax.losses import LogitsLoss
from snnjax.types import (
  Array,
  Inputs,
  Key,
  Labels,
  PyTree,
)
from snnjax.validation import check_count

LARGE_RADIUS = 0.5
_SAME = 1e-3  # relative difference of losses that rounding may make


def measure(
  subject: Subject,
  examples: Examples,
  *,
  restarts: int = 10,
  draws: int = 32,
  alone: int = 4,
) -> Measurements:
  """Returns everything that can be measured from outside.

  Not measured here: a change of normalisation statistics (see
  `statistics_change`) and the examples that were used for tuning.

  Args:
    subject: the network and the reported attack.
    examples: what to attack.
    restarts: how many restarts to compare with one.
    draws: samples of a gradient-free step, and of a difference estimate.
    alone: how many examples to attack on their own.

  Raises:
    ValueError: if a count is below one.
  """
  return merged(
    measure_steps(subject, examples),
    measure_radii(subject, examples),
    measure_gradient(subject, examples, draws=draws),
    measure_gradient_free(subject, examples, draws=draws),
    measure_rules(subject, examples),
    measure_losses(subject, examples),
    measure_restarts(subject, examples, restarts=restarts),
    measure_batch(subject, examples, alone=alone),
    measure_randomness(subject, examples),
  )


def merged(*parts: Measurements) -> Measurements:
  """Returns the measurements of all parts; later ones win.

  Outputs outside the threat and the like are counts of attacks of their own:
  they are added.
  """
  counts = ("outside", "non_finite", "disagreeing_claims")
  values: dict = {}
  for part in parts:
    for name, value in part._asdict().items():
      if value is not None:
        before = values.get(name, 0) if name in counts else 0
        values[name] = before + value if name in counts else value
  return Measurements(**values)


def measure_steps(subject: Subject, examples: Examples) -> Measurements:
  """Compares one step, many steps and twice as many."""
  loss = subject.scored()
  one = accuracy_of(
    subject,
    lambda radius: attacks.fgsm(loss, subject.threat(radius)),
    examples,
  )
  many = judge(subject, iterated(subject, loss), examples)
  twice = subject._replace(steps=2 * subject.steps)
  doubled = accuracy_of(twice, iterated(twice, loss), examples)
  accuracy = mean(many.robust)
  return Measurements(
    one_step_accuracy=one,
    many_step_accuracy=accuracy,
    accuracy=accuracy,
    doubled_steps_accuracy=doubled,
    outside=int(np.sum(many.outside)),
    non_finite=int(np.sum(many.non_finite)),
    disagreeing_claims=int(
      np.sum((many.claimed == many.robust) & ~many.outside)
    ),
  )


def measure_radii(subject: Subject, examples: Examples) -> Measurements:
  """Attacks within a half, one and two radii, and within half the range."""
  loss = subject.scored()
  run = compiled(subject, iterated(subject, loss))
  radii = [0.5 * subject.radius, subject.radius, 2 * subject.radius]
  found = [mean(run(examples, radius).robust) for radius in radii]
  linf = subject._replace(
    threat=lambda radius: attacks.linf(radius, subject.box)
  )
  far = compiled(linf, iterated(linf, loss))
  counts = np.bincount(np.asarray(examples.labels))
  return Measurements(
    epsilons=radii,
    epsilon_accuracies=found,
    large_epsilon_accuracy=mean(far(examples, LARGE_RADIUS).robust),
    # What a constant answer gets on these examples.
    chance=float(counts.max() / counts.sum()),
  )


def measure_gradient(
  subject: Subject, examples: Examples, *, draws: int = 32
) -> Measurements:
  """Counts zero gradients, and compares the others with real differences.

  Along random directions u of the radius' size, the cosine between the vector
  of differences ``L(x + u) - L(x - u)`` and that of predictions ``2 <g, u>``,
  averaged over the examples with a gradient. Unlike a cosine of estimated
  gradients it does not shrink with the number of inputs.
  """
  check_count("draws", draws)
  judged = losses.scored(subject.classify, losses.margin_loss)
  # The margin under the reported rule: cross-entropy may be saturated.
  shown = losses.scored(next(iter(subject.rules.values())), losses.margin_loss)
  reported = attacks.white_box(subject.scored())

  @jax.jit
  def run(keys: Key, inputs: Inputs, labels: Labels) -> tuple[Array, Array]:
    center, restore = flat.flatten(inputs)
    asked, drawn = random.split(keys)
    own, _ = reported.grad(random.fold_in(asked, 0), (), inputs, labels)
    margin, _ = attacks.white_box(shown).grad(
      random.fold_in(asked, 1), (), inputs, labels
    )
    gradient = flat.flatten(margin.gradient)[0]
    zero = jnp.all(flat.flatten(own.gradient)[0] == 0, 1)

    def difference(_: None, index: Array) -> tuple[None, tuple[Array, Array]]:
      noise = random.per_example(
        lambda k: jax.random.rademacher(k, center.shape[1:], center.dtype),
        random.fold_in(drawn, index),
      )
      step = subject.radius * noise
      ends = [
        judged(random.fold_in(asked, index), restore(point), labels).loss
        for point in (center + step, center - step)
      ]
      return None, (ends[0] - ends[1], 2 * jnp.sum(gradient * step, 1))

    _, (real, said) = jax.lax.scan(difference, None, jnp.arange(2, draws + 2))
    size = jnp.linalg.norm(real, axis=0) * jnp.linalg.norm(said, axis=0)
    cosine = jnp.sum(real * said, 0) / jnp.where(size > 0, size, 1)
    known = size > 0
    average = jnp.sum(jnp.where(known, cosine, 0)) / jnp.maximum(known.sum(), 1)
    return zero, jnp.where(jnp.any(known), average, jnp.nan)

  zero, cosine = run(keys_of(examples), examples.inputs, examples.labels)
  return Measurements(
    zero_gradient_fraction=mean(zero),
    finite_difference_cosine=float(cosine),
  )


def measure_gradient_free(
  subject: Subject, examples: Examples, *, draws: int = 32
) -> Measurements:
  """Attacks without a gradient, and with it."""
  loss = subject.scored()
  return Measurements(
    white_box_accuracy=accuracy_of(subject, iterated(subject, loss), examples),
    gradient_free_accuracies={
      name: accuracy_of(subject, build, examples)
      for name, build in gradient_free(subject, draws).items()
    },
  )


def measure_rules(subject: Subject, examples: Examples) -> Measurements:
  """Attacks under every rule, and takes the worst for each example."""
  robust = {
    name: judge(
      subject,
      iterated(subject, losses.scored(logits_fn, subject.loss)),
      examples,
    ).robust
    for name, logits_fn in subject.rules.items()
  }
  worst = np.all(np.stack([np.asarray(each) for each in robust.values()]), 0)
  return Measurements(
    own_rule_accuracy=mean(next(iter(robust.values()))),
    all_rules_accuracy=mean(worst),
    rules=len(robust),
  )


def measure_losses(subject: Subject, examples: Examples) -> Measurements:
  """Attacks with cross-entropy, margin and, of three classes, DLR."""
  logits_fn = next(iter(subject.rules.values()))
  shape = jax.eval_shape(logits_fn, keys_of(examples), examples.inputs).shape
  named: dict[str, LogitsLoss] = {
    "cross_entropy": losses.cross_entropy,
    "margin": losses.margin_loss,
  }
  if shape[1] > 2:
    named["dlr"] = losses.dlr
  found = {
    name: accuracy_of(
      subject,
      iterated(subject, losses.scored(logits_fn, loss)),
      examples,
    )
    for name, loss in named.items()
  }
  own = subject.scored()
  reported = accuracy_of(subject, iterated(subject, own), examples)
  return Measurements(loss_accuracies=found, reported_accuracy=reported)


def measure_restarts(
  subject: Subject, examples: Examples, *, restarts: int = 10
) -> Measurements:
  """Attacks from one random start, and from many."""
  check_count("restarts", restarts)
  loss = subject.scored()

  def run(count: int) -> float:
    return accuracy_of(
      subject,
      lambda radius: attacks.pgd(
        loss,
        subject.threat(radius),
        step_size=subject.step_share * radius,
        steps=subject.steps,
        restarts=count,
      ),
      examples,
    )

  return Measurements(
    one_restart_accuracy=run(1), ten_restarts_accuracy=run(restarts)
  )


def measure_batch(
  subject: Subject, examples: Examples, *, alone: int = 4
) -> Measurements:
  """Attacks the first examples on their own and among the others."""
  check_count("alone", alone)
  loss = subject.scored()
  run = compiled(subject, iterated(subject, loss))
  whole = run(examples, subject.radius)
  keys = keys_of(examples)
  differing = 0
  for index in range(min(alone, random.batch_size(examples.inputs))):
    here = slice(index, index + 1)
    single = run(
      Examples(
        keys[here],
        jax.tree.map(lambda leaf, here=here: leaf[here], examples.inputs),
        examples.labels[here],
      ),
      subject.radius,
    )
    same = np.allclose(
      single.loss, whole.loss[here], rtol=_SAME, atol=_SAME, equal_nan=True
    )
    same &= bool(single.robust[0] == whole.robust[index])
    differing += not same
  return Measurements(differing_alone=differing)


def measure_randomness(subject: Subject, examples: Examples) -> Measurements:
  """Runs the network twice; if that differs, attacks 10 and 20 draws.

  Where two runs are equal, so are all averages over draws, and both
  accuracies are that of one draw.
  """
  keys = keys_of(examples)
  classify = jax.jit(subject.classify)
  first, second = (
    np.asarray(classify(random.fold_in(keys, index), examples.inputs))
    for index in (0, 1)
  )
  differing = int(np.sum(np.any(first != second, 1)))
  loss = subject.scored()
  counts = (10, 20) if differing else (1,)
  found = [
    accuracy_of(
      subject,
      iterated(subject, attacks.eot(loss, count)),
      examples,
    )
    for count in counts
  ]
  return Measurements(
    differing_forwards=differing,
    ten_draws_accuracy=found[0],
    twenty_draws_accuracy=found[-1],
  )


def statistics_change(before: PyTree, after: PyTree) -> float:
  """Returns the largest change of any normalisation statistic.

  Args:
    before: the statistics the attack started from, ``batch_stats``.
    after: those after it, of the same structure.
  """
  changes = jax.tree.map(
    lambda old, new: np.max(np.abs(np.asarray(new) - np.asarray(old))),
    before,
    after,
  )
  return float(max(jax.tree.leaves(changes), default=0.0))
