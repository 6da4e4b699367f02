"""The attacks that a suite may name: one builder per kind.

A builder gets a `Request`: the network's losses under the attack's backward
rule, the budget, and the suite's numbers. It returns the attack, or raises a
ValueError that says why there is none under this budget.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from snnjax import attacks, losses
from snnjax.attacks import Oracle, Threat
from snnjax.interfaces import Attack, LogitsFn

Radii = Mapping[str, jax.Array]  # by modality

LOSSES = {
  "cross_entropy": losses.cross_entropy,
  "margin": losses.margin_loss,
  "dlr": losses.dlr,
}
RIVAL_LOSSES = {
  "targeted_dlr": losses.targeted_dlr,
  "targeted_margin": losses.targeted_margin_loss,
}


class Request(NamedTuple):
  """What a builder is given.

  Attributes:
    source: ``loss on logits -> oracle`` under the attack's backward rule.
    logits: ``(key, inputs) -> [B, C]`` under that rule.
    norm: ``radii -> threat``.
    radii: of the cell; may be traced.
    norm_name: "linf", "l2" or "l1".
    loss: a key of `LOSSES` or `RIVAL_LOSSES`; "" where the kind has none.
    steps: how many.
    restarts: how many.
    draws: how many draws of a random encoder each gradient averages.
    options: of this kind.
    stand_ins: other networks, for attacks that transfer.
  """

  source: Callable[[losses.LogitsLoss], Oracle]
  logits: LogitsFn
  norm: Callable[[Radii], Threat]
  radii: Radii
  norm_name: str
  loss: str
  steps: int
  restarts: int
  draws: int
  options: Mapping[str, Any]
  stand_ins: tuple[LogitsFn, ...] = ()

  @property
  def threat(self) -> Threat:
    """The budget."""
    return self.norm(self.radii)

  @property
  def ascended(self) -> Oracle:
    """The oracle of the loss that the suite names."""
    return self.source(LOSSES[self.loss])


class Kind(NamedTuple):
  """One row of the table of attacks.

  Attributes:
    make: the builder.
    losses: what it may ascend, the default first; () if it has none.
    steps: the default number of steps, or the key of ``config.evaluation``
      that has it; None if the kind takes no such number.
    restarts: whether it can restart.
    oracle: whether it follows any oracle; one that asks the network itself
      takes neither adaptive rules nor means over rules or draws.
    options: the names and defaults of what else it takes.
  """

  make: Callable[[Request], Attack]
  losses: tuple[str, ...] = tuple(LOSSES)
  steps: int | str | None = "steps"
  restarts: bool = True
  oracle: bool = True
  options: Mapping[str, Any] = {}


def _step_size(request: Request) -> Radii:
  return jax.tree.map(lambda r: 2.5 * r / request.steps, request.radii)


def _pgd(request: Request) -> Attack:
  return attacks.pgd(
    request.ascended,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _mi_fgsm(request: Request) -> Attack:
  return attacks.mi_fgsm(
    request.ascended,
    request.threat,
    step_size=_step_size(request),
    steps=request.steps,
  )


def _fgsm(request: Request) -> Attack:
  return attacks.fgsm(request.ascended, request.threat)


def _random(request: Request) -> Attack:
  return attacks.random_noise(
    request.logits,
    request.threat,
    loss=LOSSES[request.loss],
    draws=request.steps,
  )


def _apgd(request: Request) -> Attack:
  return attacks.auto_pgd(
    request.ascended,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _apgd_t(request: Request) -> Attack:
  return attacks.targeted_auto_pgd(
    request.logits,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
    targets=request.options["rivals"],
    loss=RIVAL_LOSSES[request.loss],
    oracle=lambda loss: attacks.eot(attacks.white_box(loss), request.draws),
  )


def _sa_pgd(request: Request) -> Attack:
  published = request.norm_name == "linf"
  make = attacks.sa_pgd if published else attacks.sa_pgd_steepest
  return make(
    request.ascended,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _slide(request: Request) -> Attack:
  return attacks.slide(
    request.ascended,
    request.threat,
    step_size=_step_size(request),
    steps=request.steps,
    restarts=request.restarts,
  )


def _nearest(
  attack: Callable[..., attacks.MinimalAttack],
  option: str,
  argument: str,
  *,
  restarts: bool = False,
) -> Callable[[Request], Attack]:
  """A minimal-norm attack, its results as far as the budget allows them.

  Args:
    attack: what makes it of logits and a threat.
    option: of the suite that it takes.
    argument: under which name it takes the option.
    restarts: whether it has random starts.
  """

  def build(request: Request) -> Attack:
    given = {"steps": request.steps, argument: request.options[option]}
    if restarts:
      given["restarts"] = request.restarts
    found = attacks.as_attack(attack(request.logits, request.threat, **given))
    return attacks.within(found, request.logits, request.threat)

  return build


def _square(request: Request) -> Attack:
  return attacks.square(
    request.logits,
    request.threat,
    queries=request.steps,
    restarts=request.restarts,
  )


def _estimated(request: Request) -> Attack:
  oracle = attacks.spsa(
    request.logits,
    loss=LOSSES[request.loss],
    draws=request.options["pairs"],
    width=request.options["width"],
  )
  return attacks.pgd(
    oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _hop_skip_jump(request: Request) -> Attack:
  threat = request.threat
  walk = attacks.hop_skip_jump(request.logits, threat, rounds=request.steps)
  return attacks.within(walk, request.logits, threat)


def _transfer(request: Request) -> Attack:
  stand_ins = tuple(
    attacks.pgd(
      logits,
      request.threat,
      steps=request.steps,
      restarts=request.restarts,
    )
    for logits in request.stand_ins
  )
  return attacks.transfer(stand_ins, request.logits)


TABLE: Mapping[str, Kind] = {
  "pgd": Kind(_pgd),
  "fgsm": Kind(_fgsm, steps=None, restarts=False),
  "mi_fgsm": Kind(_mi_fgsm, restarts=False),
  "apgd": Kind(_apgd),
  "apgd_t": Kind(
    _apgd_t,
    losses=tuple(RIVAL_LOSSES),
    oracle=False,
    options={"rivals": 9},
  ),
  "sa_pgd": Kind(_sa_pgd),
  "slide": Kind(_slide),
  "fab": Kind(
    _nearest(attacks.fab, "rivals", "rivals", restarts=True),
    losses=(),
    oracle=False,
    options={"rivals": 9},
  ),
  "fab_t": Kind(
    _nearest(attacks.targeted_fab, "rivals", "targets", restarts=True),
    losses=(),
    oracle=False,
    options={"rivals": 9},
  ),
  "deepfool": Kind(
    _nearest(attacks.deepfool, "rivals", "rivals"),
    losses=(),
    restarts=False,
    oracle=False,
    options={"rivals": 9},
  ),
  "carlini_wagner": Kind(
    _nearest(attacks.carlini_wagner, "searches", "searches"),
    losses=(),
    steps=1000,
    restarts=False,
    oracle=False,
    options={"searches": 9},
  ),
  "ead": Kind(
    _nearest(attacks.ead, "searches", "searches"),
    losses=(),
    steps=1000,
    restarts=False,
    oracle=False,
    options={"searches": 9},
  ),
  # Of the kinds below, no gradient of the attacked network is used.
  "random": Kind(_random, steps="random_draws", restarts=False, oracle=False),
  "square": Kind(_square, losses=(), steps=5000, oracle=False),
  "spsa": Kind(_estimated, oracle=False, options={"pairs": 32, "width": 0.01}),
  "hop_skip_jump": Kind(
    _hop_skip_jump, losses=(), steps=20, restarts=False, oracle=False
  ),
  "transfer": Kind(_transfer, losses=(), oracle=False, options={"runs": ()}),
}
GRADIENT_FREE = ("random", "square", "spsa", "hop_skip_jump", "transfer")
