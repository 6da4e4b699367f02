"""AutoAttack as an evaluation: each attack meets only the survivors."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks
from snnjax.arguments import check_takes, with_key
from snnjax.attacks import Threat
from snnjax.evaluation.microbatches import Progress, evaluate
from snnjax.evaluation.records import Chunk, Evaluation, Trial
from snnjax.evaluation.steps import Builder, partial
from snnjax.interfaces import AnyLogitsFn, Attack, Inputs, Key, Labels, LogitsFn
from snnjax.losses import TooFewClassesError

_SUITE = "attacks.autoattack_standard, for instance, makes the attacks"
_ENOUGH = 4  # classes for which every loss is defined


class Suite(Protocol):
  """What makes attacks by name, such as `attacks.autoattack_standard`."""

  def __call__(
    self,
    logits_fn: LogitsFn,
    threat: Threat | Callable[[Any], Threat],
    epsilon: Any = None,
  ) -> Mapping[str, Attack]:
    """Returns the attacks in the order to run them."""
    ...


def cases(
  suite: Suite,
  logits_fn: AnyLogitsFn,
  threat: Threat | Callable[[Any], Threat],
  epsilon: Any = None,
) -> Mapping[str, Builder]:
  """Returns the attacks of a suite as the cases of `evaluate`, in their order.

  Args:
    suite: makes the attacks, such as `attacks.autoattack_standard`, or a
      `functools.partial` of it with less effort.
    logits_fn: ``(key, inputs) -> [B, C]``, or of inputs alone; a
      `jax.tree_util.Partial` of a function and a network's variables keeps
      these out of the compiled code.
    threat: ``radius -> threat``, such as `attacks.linf`, or a function of one
      radius per modality; or a ready threat, whose radii are compiled in.
    epsilon: the radius, or one per modality, where `threat` is such a
      function; all values share one compilation.

  Raises:
    ValueError: if a function does not take what it is called with, or `threat`
      is neither a norm nor a threat; if a radius is not one for all examples:
      they are attacked in microbatches.
  """
  logits = partial(with_key(logits_fn))
  check_takes("suite", suite, ("logits_fn", "threat"), _SUITE)

  def builder(name: str) -> Builder:
    def build(logits_fn: LogitsFn, epsilon: Any) -> Trial:
      budget = attacks.threat_of(threat, epsilon)
      return Trial(suite(logits_fn, budget)[name], budget)

    return jax.tree_util.Partial(build, logits, epsilon)

  budget = attacks.threat_of(threat, epsilon)
  for radius in jax.tree.leaves(budget.radius):
    if jnp.ndim(radius):
      raise ValueError(
        "epsilon must be one number for all examples of an evaluation, or one "
        f"per modality; got shape {jnp.shape(radius)}"
      )
  return {name: builder(name) for name in suite(logits, budget)}


def autoattack(
  logits_fn: AnyLogitsFn,
  threat: Threat | Callable[[Any], Threat],
  inputs: Inputs,
  labels: Labels,
  *,
  key: Key,
  epsilon: Any = None,
  suite: Suite = attacks.autoattack_standard,
  microbatch: int = 64,
  finished: Iterable[Chunk] = (),
  mesh: jax.sharding.Mesh | None = None,
  progress: Progress | None = None,
  indices: np.ndarray | None = None,
) -> Evaluation:
  """Evaluates a network by AutoAttack.

  `summarize` gives the robust accuracy: an example is robust where every
  attack failed. With two or three classes, the attacks whose loss is not
  defined are left out; `Evaluation.skipped` names them and says why.

  Args:
    logits_fn: the network, see `cases`; it is its own judge.
    threat: a norm, such as `attacks.linf`, or a ready threat; see `cases`.
    inputs: [N, ...] or a mapping of such arrays.
    labels: [N].
    key: a scalar key.
    epsilon: the radius, where `threat` is a norm.
    suite: which attacks.
    microbatch: as in `evaluate`, like all that follow.
    finished: chunks of an interrupted run.
    mesh: of devices that compute a microbatch each.
    progress: called after each chunk.
    indices: [N] unique ids.

  Raises:
    ValueError: as `cases`, and if an argument does not fit, among them inputs
      outside the box and logits of one class: a single logit z is ``[0, z]`` in
      two.

  References:
    Francesco Croce, Matthias Hein, 2020, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks",
    arXiv 2003.01690.
  """
  logits_fn = with_key(logits_fn)
  attacks.check_inputs(attacks.threat_of(threat, epsilon), inputs)
  all_cases = cases(suite, logits_fn, threat, epsilon)
  skipped = find_undefined(all_cases, logits_fn, inputs)
  runnable = {
    name: case for name, case in all_cases.items() if name not in skipped
  }
  if not runnable:
    raise ValueError(
      "suite must have an attack that is defined for the network; got "
      f"{skipped}"
    )
  evaluation = evaluate(
    runnable,
    logits_fn,
    inputs,
    labels,
    key=key,
    indices=indices,
    microbatch=microbatch,
    finished=finished,
    mesh=mesh,
    progress=progress,
  )
  return evaluation._replace(skipped=skipped)


def find_undefined(
  cases: Mapping[str, Builder], logits_fn: LogitsFn, inputs: Inputs
) -> dict[str, str]:
  """Returns which cases cannot run for want of classes, with the reason.

  DLR needs three classes and its targeted form four. The attacks of a suite
  that remain for fewer are those that the authors run.

  Args:
    cases: by name, as `evaluate` takes them.
    logits_fn: ``(key, inputs) -> [B, C]``.
    inputs: [N, ...] or a mapping of such arrays; only their shape matters.
  """
  example = jax.tree.map(lambda leaf: leaf[:1], inputs)
  keys, label = jax.random.split(jax.random.key(0), 1), jnp.zeros(1, int)
  shape = jax.eval_shape(logits_fn, keys, example).shape
  if len(shape) != 2 or shape[1] >= _ENOUGH:
    return {}
  skipped = {}
  for name, builder in cases.items():
    try:
      # Nothing is compiled, nor run.
      jax.eval_shape(lambda x, b=builder: b().attack(keys, x, label), example)
    except TooFewClassesError as error:
      skipped[name] = str(error)
  return skipped
