"""Attacks by name: wiring of an oracle, a stepper and a threat, no more.

Each takes a logits function, and what to ascend on it, or an oracle; see
`snnjax.attacks.oracles.Source`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnjax import prng
from snnjax.attacks.ascent import Start, ascend, choose_start
from snnjax.attacks.candidates import Keep, success_then_loss
from snnjax.attacks.loop import Point, Proposer, search
from snnjax.attacks.oracles import Source, as_oracle
from snnjax.attacks.steppers import divide_by_mean, scale_steps, steepest
from snnjax.attacks.threats import ravel
from snnjax.attacks.threats.threat import Threat, check_threat
from snnjax.interfaces import Attack, Inputs, Key, Labels
from snnjax.losses import LogitsLoss
from snnjax.validation import (
  check_count,
  check_number,
  check_range,
  is_concrete,
)


def fgsm(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns the one-step attack ``x + epsilon * ascent(g)``.

  For linf this is the sign step; for l2 and l1 the corresponding step of the
  whole radius.

  Args:
    source: a logits function, or an oracle.
    threat: the budget, whose radius is the step.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    keep: see `ascend`; `last` gives the textbook's point even where the clean
      input is worse for the network.

  References:
    Ian Goodfellow, Jonathon Shlens, Christian Szegedy, 2015, "Explaining and
    harnessing adversarial examples", arXiv 1412.6572.
  """
  check_threat(threat)
  stepper = optax.chain(steepest(threat), scale_steps(threat.radius))
  return ascend(as_oracle(source, loss), stepper, threat, steps=1, keep=keep)


def r_fgsm(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  share: float = 0.5,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns a random step, then a gradient step with what is left.

  ``x' = x + s epsilon ascent(n)`` with normal noise n (for linf: random
  signs), then ``x' + (1 - s) epsilon ascent(g(x'))``.

  Args:
    source: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    share: s, the part of the radius spent at random, in [0, 1).
    keep: see `ascend`.

  Raises:
    ValueError: if `share` is out of range.

  References:
    Florian Tramer, Alexey Kurakin, Nicolas Papernot, Ian Goodfellow, Dan
    Boneh, Patrick McDaniel, 2018, "Ensemble adversarial training: attacks and
    defenses" (RAND+FGSM), arXiv 1705.07204.
  """
  check_threat(threat)
  check_range("share", share, 0.0, np.nextafter(1.0, 0.0))
  stepper = optax.chain(
    steepest(threat), scale_steps(_times(1 - share, threat.radius))
  )
  return ascend(
    as_oracle(source, loss),
    stepper,
    threat,
    steps=1,
    start=_noisy_start(threat, share),
    keep=keep,
  )


def pgd(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  step_size: ravel.Amounts | None = None,
  random_start: bool = True,
  restarts: int = 1,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns projected gradient ascent.

  ``x <- project(x + step_size * ascent(g))``.

  Args:
    source: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    step_size: the length of a step in the threat's norm, for all inputs or
      for each modality; None is 2.5 times the radius over `steps`, enough
      to cross the ball (Madry et al.).
    random_start: whether each run starts at a sample of the threat.
    restarts: how many runs to choose from.
    keep: see `ascend`.

  Raises:
    ValueError: if a count is below one or a step is not positive.

  References:
    Aleksander Madry, Aleksandar Makelov, Ludwig Schmidt, Dimitris Tsipras,
    Adrian Vladu, 2018, "Towards deep learning models resistant to adversarial
    attacks", arXiv 1706.06083.
  """
  # Together 2.5 radii: from any start to any wall of the ball.
  sizes = _step_sizes(step_size, threat, 2.5, steps)
  return ascend(
    as_oracle(source, loss),
    optax.chain(steepest(threat), scale_steps(sizes)),
    threat,
    steps=steps,
    restarts=restarts,
    start=choose_start(threat, random_start, restarts),
    keep=keep,
  )


def bim(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  step_size: ravel.Amounts | None = None,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns the basic iterative method: PGD from the clean input.

  Args:
    source: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    step_size: as in `pgd`, but None is the radius over `steps`.
    keep: see `ascend`.

  Raises:
    ValueError: as `pgd`.

  References:
    Alexey Kurakin, Ian Goodfellow, Samy Bengio, 2017, "Adversarial examples
    in the physical world", arXiv 1607.02533.
  """
  return pgd(
    source,
    threat,
    loss=loss,
    steps=steps,
    step_size=_step_sizes(step_size, threat, 1, steps),
    random_start=False,
    keep=keep,
  )


def mi_fgsm(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  steps: int,
  step_size: ravel.Amounts | None = None,
  decay: float = 1.0,
  keep: Keep = success_then_loss,
) -> Attack:
  """Returns the iterative attack along an accumulated gradient.

  ``m <- decay m + g / mean |g|``, then a step along ``ascent(m)``.

  Args:
    source: a logits function, or an oracle.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    steps: how many.
    step_size: as in `pgd`, but None is the radius over `steps`.
    decay: weight of the past, 0 or more.
    keep: see `ascend`.

  Raises:
    ValueError: if an argument is out of range.

  References:
    Yinpeng Dong, Fangzhou Liao, Tianyu Pang, Hang Su, Jun Zhu, Xiaolin Hu,
    Jianguo Li, 2018, "Boosting adversarial attacks with momentum",
    arXiv 1710.06081.

  Differs from the paper by dividing by the *mean* absolute gradient where it
  divides by the sum, as the released attacks do; for one array the direction
  is the same.
  """
  sizes = _step_sizes(step_size, threat, 1, steps)
  check_range("decay", decay, 0.0, np.inf)
  stepper = optax.chain(
    divide_by_mean(), optax.trace(decay), steepest(threat), scale_steps(sizes)
  )
  return ascend(
    as_oracle(source, loss), stepper, threat, steps=steps, keep=keep
  )


def random_noise(
  source: Source,
  threat: Threat,
  *,
  loss: LogitsLoss | None = None,
  draws: int,
) -> Attack:
  """Returns the worst of many uniform samples of the threat: no gradient.

  The clean input is a candidate too. With `draws` = 1 the average success
  over keys is the accuracy under noise.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    threat: the budget.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    draws: how many samples.

  Raises:
    ValueError: if `draws` is below one.
  """
  check_threat(threat)
  check_count("draws", draws)

  def init(keys: Key, origin: Inputs, labels: Labels) -> tuple[Inputs, tuple]:
    del labels
    return threat.sample(keys, origin), ()

  def propose(keys: Key, point: Point, memory: tuple) -> tuple[Inputs, tuple]:
    return threat.sample(keys, point.origin), memory

  proposer = Proposer(init, propose)
  return search(as_oracle(source, loss), proposer, threat, steps=draws)


def _times(factor: float, radius: ravel.Amounts) -> ravel.Amounts:
  return jax.tree.map(lambda value: factor * value, radius)


def _noisy_start(threat: Threat, share: float) -> Start:
  """Returns the start some radii away along the steepest direction of noise."""

  def start(key: Key, origin: Inputs) -> Inputs:
    matrix, restore = ravel.ravel_examples(origin)
    keys = prng.example_keys(key, matrix.shape[0])
    noise = restore(
      prng.per_example(
        lambda k: jax.random.normal(k, matrix.shape[1:], matrix.dtype), keys
      )
    )
    step = optax.chain(
      steepest(threat), scale_steps(_times(share, threat.radius))
    )
    here = ravel.widen(origin)
    update, _ = step.update(noise, step.init(here), here)
    return threat.project(jax.tree.map(jnp.add, here, update), origin)

  return start


def _step_sizes(
  step_size: ravel.Amounts | None, threat: Threat, crossings: float, steps: int
) -> ravel.Amounts:
  """Returns the step size, or so many radii over the steps where it is None.

  Raises:
    ValueError: if `steps` is no such count, or where a step of zero meets a
      budget that is not zero.
  """
  check_count("steps", steps)
  check_threat(threat)
  if step_size is None:
    return jax.tree.map(lambda r: crossings * r / steps, threat.radius)
  sizes = jax.tree_util.tree_leaves_with_path(step_size, lambda x: x is None)
  radii = dict(jax.tree_util.tree_leaves_with_path(threat.radius))
  for path, size in sizes:
    name = f"step_size{jax.tree_util.keystr(path)}"
    check_number(name, size)
    # One step for all may stand beside a budget for each, or the other way.
    radius = radii.get(path, next(iter(radii.values())))
    # Where nothing may change, a step of zero is right.
    idle = is_concrete(radius) and not np.any(np.asarray(radius))
    if is_concrete(size) and not idle and not np.all(np.asarray(size) > 0):
      raise ValueError(f"{name} must be positive; got {size}")
  return step_size
