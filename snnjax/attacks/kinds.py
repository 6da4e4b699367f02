"""The kinds of attack that a suite may name: one builder each.

A builder gets a `Request`: the network's losses under the attack's backward
rule, the budget, and the suite's numbers. It returns the attack, or raises a
ValueError that says why there is none under this budget. `build` asks first
whether the kind has a form for the budget's norm.
"""

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from snnjax import losses
from snnjax.attacks.black_box import spsa
from snnjax.attacks.combinators import transfer, within
from snnjax.attacks.gradient.auto_pgd import auto_pgd, targeted_auto_pgd
from snnjax.attacks.gradient.fgsm_pgd import fgsm, mi_fgsm, pgd, random_noise
from snnjax.attacks.gradient.sa_pgd import sa_pgd, sa_pgd_steepest
from snnjax.attacks.gradient.slide import slide
from snnjax.attacks.minimum_norm.carlini_wagner import carlini_wagner
from snnjax.attacks.minimum_norm.deepfool import deepfool
from snnjax.attacks.minimum_norm.ead import ead
from snnjax.attacks.minimum_norm.fab import fab, targeted_fab
from snnjax.attacks.minimum_norm.minimum_norm import MinimalAttack, as_attack
from snnjax.attacks.oracles import Oracle, eot, white_box
from snnjax.attacks.queries.hop_skip_jump import hop_skip_jump
from snnjax.attacks.queries.square import square
from snnjax.attacks.sparse.jsma import jsma
from snnjax.attacks.sparse.sigma_zero import sigma_zero
from snnjax.attacks.sparse.sparse_pgd import pgd_l0, spgd
from snnjax.attacks.sparse.sparse_rs import sparse_rs
from snnjax.attacks.threats.threat import Threat, norm_of, orders_of
from snnjax.interfaces import Attack, LogitsFn

Radii = Any  # a scalar, or one per modality

# A norm's name by its order; that of order 0 counts the sites that change.
NORMS: Mapping[float, str] = {math.inf: "linf", 2: "l2", 1: "l1", 0: "l0"}
DENSE = (math.inf, 2, 1)
SITES = (0,)

LOSSES = {
  "cross_entropy": losses.cross_entropy,
  "margin": losses.margin_loss,
  "dlr": losses.dlr,
}
TARGETED_LOSSES = {
  "targeted_dlr": losses.targeted_dlr,
  "targeted_margin": losses.targeted_margin_loss,
}


class NormError(ValueError):
  """A kind of attack has no form for a budget's norm."""


class Request(NamedTuple):
  """What an attack is built from: the arguments of every builder in `KINDS`.

  Attributes:
    source: ``loss on logits -> oracle``, under the attack's backward rule.
    logits: ``(key, inputs) -> [B, C]`` under that rule.
    threat: the budget.
    radii: of the budget; may be traced.
    loss: a key of `LOSSES` or `TARGETED_LOSSES`; "" where the kind has none.
    steps: how many.
    restarts: how many.
    draws: how many draws of a random encoder each gradient averages.
    options: of this kind.
    stand_ins: other networks, for attacks that transfer.
  """

  source: Callable[[losses.LogitsLoss], Oracle]
  logits: LogitsFn
  threat: Threat
  radii: Radii
  loss: str
  steps: int
  restarts: int
  draws: int
  options: Mapping[str, Any]
  stand_ins: tuple[LogitsFn, ...] = ()

  @property
  def loss_oracle(self) -> Oracle:
    """The oracle of the loss that the suite names."""
    return self.source(LOSSES[self.loss])


class Kind(NamedTuple):
  """One row of the table of attacks.

  Attributes:
    make: the builder, ``request -> attack``.
    losses: names of the losses that it may ascend, the default first; () if
      it has a loss of its own.
    steps: the default number of steps; "steps" or "random_draws", the suite's
      number of that name; None if the kind takes no such number.
    restarts: whether it can restart.
    oracle: whether it follows any oracle. An attack that asks the network
      itself takes neither adaptive rules nor means over rules or draws.
    options: the names and defaults of what else it takes.
    orders: of the norms that it has a form for, keys of `NORMS`.
  """

  make: Callable[[Request], Attack]
  losses: tuple[str, ...] = tuple(LOSSES)
  steps: int | str | None = "steps"
  restarts: bool = True
  oracle: bool = True
  options: Mapping[str, Any] = MappingProxyType({})
  orders: tuple[float, ...] = DENSE


def build(name: str, request: Request) -> Attack:
  """Returns the attack of a kind.

  Args:
    name: a key of `KINDS`.
    request: what it is built from.

  Raises:
    NormError: the kind has no form for the norm of the request's budget.
    ValueError: the attack cannot run under this budget for another reason.
  """
  kind = KINDS[name]
  orders = orders_of(request.threat)
  # A threat of one's own, whose norm is not known, is left to the attack.
  if not set(orders) <= set(kind.orders):
    raise NormError(
      f"{name} must have a budget in {_spell(kind.orders)}; got one in "
      f"{_spell(orders)}"
    )
  return kind.make(request)


def _spell(orders: tuple[float, ...]) -> str:
  return " or ".join(NORMS[order] for order in orders)


def _step_size(request: Request) -> Radii:
  return jax.tree.map(lambda r: 2.5 * r / request.steps, request.radii)


def _pgd(request: Request) -> Attack:
  return pgd(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _mi_fgsm(request: Request) -> Attack:
  return mi_fgsm(
    request.loss_oracle,
    request.threat,
    step_size=_step_size(request),
    steps=request.steps,
  )


def _fgsm(request: Request) -> Attack:
  return fgsm(request.loss_oracle, request.threat)


def _random(request: Request) -> Attack:
  return random_noise(
    request.logits,
    request.threat,
    loss=LOSSES[request.loss],
    draws=request.steps,
  )


def _apgd(request: Request) -> Attack:
  return auto_pgd(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _apgd_t(request: Request) -> Attack:
  return targeted_auto_pgd(
    request.logits,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
    targets=request.options["rivals"],
    loss=TARGETED_LOSSES[request.loss],
    oracle=lambda loss: eot(white_box(loss), request.draws),
  )


def _sa_pgd(request: Request) -> Attack:
  published = set(norm_of(request.threat).orders) == {math.inf}
  make = sa_pgd if published else sa_pgd_steepest
  return make(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _slide(request: Request) -> Attack:
  return slide(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _nearest(
  attack: Callable[..., MinimalAttack],
  option: str,
  argument: str,
  *,
  restarts: bool = False,
) -> Callable[[Request], Attack]:
  """Returns the builder of a minimal-norm attack under a budget.

  Args:
    attack: builds it from logits and a threat.
    option: name of the suite's option.
    argument: name of the attack's argument that takes it.
    restarts: whether the attack takes them.
  """

  def build(request: Request) -> Attack:
    numbers = {"steps": request.steps, argument: request.options[option]}
    if restarts:
      numbers["restarts"] = request.restarts
    nearest = as_attack(attack(request.logits, request.threat, **numbers))
    return within(nearest, request.logits, request.threat)

  return build


def _square(request: Request) -> Attack:
  return square(
    request.logits,
    request.threat,
    queries=request.steps,
    restarts=request.restarts,
  )


def _pgd_l0(request: Request) -> Attack:
  return pgd_l0(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _spgd(request: Request, *, projected: bool) -> Attack:
  return spgd(
    request.loss_oracle,
    request.threat,
    steps=request.steps,
    projected=projected,
    restarts=request.restarts,
    site_axes=_site_axes(request),
  )


def _sparse_rs(request: Request) -> Attack:
  return sparse_rs(
    request.logits,
    request.threat,
    queries=request.steps,
    restarts=request.restarts,
    site_axes=_site_axes(request),
  )


def _sigma_zero(request: Request) -> Attack:
  threat = request.threat
  if isinstance(threat.radius, Mapping):
    # It counts the sites of all modalities together, and would spend them
    # where they are not allowed.
    raise ValueError(
      "sigma_zero must have one number of sites over all modalities; got "
      f"numbers for {sorted(threat.radius)}"
    )
  fewest = sigma_zero(
    request.source(losses.margin_loss),
    steps=request.steps,
    box=threat.box,
    site_axes=_site_axes(request),
  )
  return within(fewest, request.logits, threat)


def _jsma(request: Request) -> Attack:
  return jsma(
    request.logits,
    request.threat,
    steps=request.steps,
    site_axes=_site_axes(request),
  )


def _site_axes(request: Request) -> Any:
  """The site_axes of the request's threat, for the attack's argument."""
  axes = request.threat.site_axes
  return 1 if axes is None else axes  # None is refused by the attack


def _estimated(request: Request) -> Attack:
  oracle = spsa(
    request.logits,
    loss=LOSSES[request.loss],
    draws=request.options["pairs"],
    width=request.options["width"],
  )
  return pgd(
    oracle,
    request.threat,
    steps=request.steps,
    restarts=request.restarts,
  )


def _hop_skip_jump(request: Request) -> Attack:
  threat = request.threat
  walk = hop_skip_jump(request.logits, threat, rounds=request.steps)
  return within(walk, request.logits, threat)


def _transfer(request: Request) -> Attack:
  stand_ins = tuple(
    pgd(
      logits,
      request.threat,
      steps=request.steps,
      restarts=request.restarts,
    )
    for logits in request.stand_ins
  )
  return transfer(stand_ins, request.logits)


KINDS: Mapping[str, Kind] = {
  "pgd": Kind(_pgd),
  "fgsm": Kind(_fgsm, steps=None, restarts=False),
  "mi_fgsm": Kind(_mi_fgsm, restarts=False),
  "apgd": Kind(_apgd),
  "apgd_t": Kind(
    _apgd_t,
    losses=tuple(TARGETED_LOSSES),
    oracle=False,
    options={"rivals": 9},
  ),
  "sa_pgd": Kind(_sa_pgd),
  "slide": Kind(_slide, orders=(1,)),
  "fab": Kind(
    _nearest(fab, "rivals", "rivals", restarts=True),
    losses=(),
    oracle=False,
    options={"rivals": 9},
  ),
  "fab_t": Kind(
    _nearest(targeted_fab, "rivals", "targets", restarts=True),
    losses=(),
    oracle=False,
    options={"rivals": 9},
  ),
  "deepfool": Kind(
    _nearest(deepfool, "rivals", "rivals"),
    losses=(),
    restarts=False,
    oracle=False,
    options={"rivals": 9},
  ),
  "carlini_wagner": Kind(
    _nearest(carlini_wagner, "searches", "searches"),
    losses=(),
    steps=1000,
    restarts=False,
    oracle=False,
    options={"searches": 9},
    orders=(2,),
  ),
  "ead": Kind(
    _nearest(ead, "searches", "searches"),
    losses=(),
    steps=1000,
    restarts=False,
    oracle=False,
    options={"searches": 9},
    orders=(1,),
  ),
  "spgd": Kind(functools.partial(_spgd, projected=True), orders=SITES),
  "spgd_unprojected": Kind(
    functools.partial(_spgd, projected=False), orders=SITES
  ),
  "pgd_l0": Kind(_pgd_l0, orders=SITES),
  "sigma_zero": Kind(
    _sigma_zero, losses=(), steps=100, restarts=False, orders=SITES
  ),
  "jsma": Kind(_jsma, losses=(), restarts=False, oracle=False, orders=SITES),
  # Of the kinds below, no gradient of the attacked network is used.
  "random": Kind(
    _random,
    steps="random_draws",
    restarts=False,
    oracle=False,
    orders=tuple(NORMS),
  ),
  "sparse_rs": Kind(
    _sparse_rs, losses=(), steps=5000, oracle=False, orders=SITES
  ),
  "square": Kind(_square, losses=(), steps=5000, oracle=False),
  "spsa": Kind(_estimated, oracle=False, options={"pairs": 32, "width": 0.01}),
  "hop_skip_jump": Kind(
    _hop_skip_jump, losses=(), steps=20, restarts=False, oracle=False
  ),
  "transfer": Kind(_transfer, losses=(), oracle=False, options={"runs": ()}),
}
GRADIENT_FREE = (
  "random",
  "sparse_rs",
  "square",
  "spsa",
  "hop_skip_jump",
  "transfer",
)
