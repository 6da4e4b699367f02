"""Every public attack with a threat to hold it to, and NumPy's view of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnjax import attacks, losses
from snnjax.attacks import perceptual

CLASSES = 3
RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(16, 8)).astype(np.float32)
SECOND = RNG.normal(size=(8, CLASSES)).astype(np.float32)


def weighed(values, weights):
  """A product of matrices whose rows do not see how many there are."""
  return jnp.sum(values[:, :, None] * weights[None], 1)


def image_logits(key, inputs):
  """A small smooth network, random but fixed."""
  del key
  flat = inputs.reshape(inputs.shape[0], -1)
  return weighed(jnp.tanh(weighed(flat, FIRST)), SECOND)


def marked(logits):
  """Logits as they are, by way of a primitive that nothing else here uses.

  It counts how often a network stands in a program: no derivative passes
  through it, so that backward passes are without it.
  """
  size = jnp.abs(lax.stop_gradient(logits)) + 1
  return logits + 0 * lax.digamma(size)


MARK = "digamma"


def fused_logits(key, inputs):
  seen = inputs["events"].reshape(inputs["events"].shape[0], 2, 4, 4)
  return image_logits(key, inputs["image"]) + image_logits(key, seen[:, 0] ** 2)


def batch(modalities, rows):
  """The first examples of one data set; the network errs on every fifth."""
  rng = np.random.default_rng(1)
  image = jnp.asarray(rng.random((64, 4, 4, 1)), jnp.float32)
  events = jnp.asarray(rng.random((64, 2, 4, 4, 1)), jnp.float32)
  inputs, network = image, image_logits
  if modalities:
    inputs, network = {"image": image, "events": events}, fused_logits
  wrong = jnp.asarray(np.arange(64) % 5 == 4, int)
  labels = (jnp.argmax(network(None, inputs), 1) + wrong) % CLASSES
  return jax.tree.map(lambda leaf: leaf[:rows], inputs), labels[:rows]


def flat(array):
  return np.asarray(array, np.float64).reshape(len(array), -1)


def length(order):
  return lambda delta: np.linalg.norm(delta, order, 1)


def changes(moved, clean, weights=None):
  """The change of all modalities, side by side."""
  return np.concatenate(
    [
      (weights or {}).get(name, 1.0) * (flat(moved[name]) - flat(clean[name]))
      for name in ("image", "events")
    ],
    1,
  )


class Case(NamedTuple):
  """A threat scaled by `size`, and NumPy's view of how much of it is spent."""

  threat: object
  spent: object
  modalities: bool = True
  step: object = 0.4


def single(make, radius, order):
  return Case(
    lambda size: make(size * radius),
    lambda moved, clean: length(order)(flat(moved) - flat(clean)) / radius,
    False,
    0.4 * radius,
  )


def separate(image, events):
  """Budgets (make, radius, order) of two modalities."""

  def spent(moved, clean):
    shares = [
      length(order)(flat(moved[name]) - flat(clean[name])) / radius
      for name, (_, radius, order) in (("image", image), ("events", events))
    ]
    return np.maximum(*shares)

  return Case(
    lambda size: attacks.per_modality(
      {
        "image": image[0](image[1] * size),
        "events": events[0](events[1] * size),
      }
    ),
    spent,
    True,
    {"image": 0.4 * image[1], "events": 0.4 * events[1]},
  )


def together(make, radius, order):
  weights = {"image": 1.0, "events": 0.3}
  return Case(
    lambda size: attacks.joint(make, radius * size, weights),
    lambda moved, clean: length(order)(changes(moved, clean, weights)) / radius,
    True,
    0.2,
  )


def only_events(moved, clean):
  assert np.array_equal(moved["image"], clean["image"])
  return length(2)(flat(moved["events"]) - flat(clean["events"])) / 0.6


PERCEPTUAL = 12.0


def seen(moved, clean):
  """The perceptual distance of Luo et al., pixel by pixel, over the budget."""
  total = np.zeros(len(moved["image"]))
  for name in ("image", "events"):
    x = np.asarray(clean[name], np.float64).reshape(len(total), -1, 4, 4)
    delta = np.abs(np.asarray(moved[name], np.float64).reshape(x.shape) - x)
    for row in range(4):
      for column in range(4):
        rows = slice(max(row - 1, 0), row + 2)
        near = x[..., rows, max(column - 1, 0) : column + 2]
        spread = np.maximum(near.std((-2, -1)), perceptual.FLOOR)
        total += (delta[..., row, column] / spread).sum(1)
  return total / PERCEPTUAL


THREATS = {
  "linf": single(attacks.linf, 0.1, np.inf),
  "l2": single(attacks.l2, 0.5, 2),
  "l1": single(attacks.l1, 1.5, 1),
  "separate": separate((attacks.linf, 0.1, np.inf), (attacks.l2, 0.6, 2)),
  "both_l1": separate((attacks.l1, 1.0, 1), (attacks.l1, 1.5, 1)),
  "frozen": Case(
    lambda size: attacks.per_modality(
      {"image": attacks.frozen(), "events": attacks.l2(0.6 * size)}
    ),
    only_events,
    True,
    0.2,
  ),
  "joint": together(attacks.l2, 0.5, 2),
  "joint_l1": together(attacks.l1, 1.5, 1),
  "l0": Case(
    lambda size: attacks.l0(4 * size),
    lambda moved, clean: (changes(moved, clean) != 0).sum(1) / 4,
  ),
  "perceptual": Case(lambda size: PERCEPTUAL * size, seen),
}


def logits_of(loss):
  def logits(key, inputs):
    rows = jax.tree.leaves(inputs)[0].shape[0]
    return loss(key, inputs, jnp.zeros(rows, int)).logits

  return logits


def limited(attack, loss, threat):
  return attacks.within(attacks.as_attack(attack), loss, threat)


class Entry(NamedTuple):
  """How to build an attack, and the threats it is held to."""

  build: object  # (loss, threat, step) -> attack
  threats: tuple = ("separate",)
  sign: int = 1  # -1: labels are targets
  rounding: float = 2e-5  # by which the size of the batch may change inputs
  networks: int = 1  # how often the network stands in its program


WEIGHING = {"steps": 20, "searches": 3, "step_size": 0.1, "weight": 0.1}
RIVAL = {"loss": losses.targeted_margin_loss}
ATTACKS = {
  "fgsm": Entry(
    lambda loss, threat, step: attacks.fgsm(loss, threat), ("separate", "l2")
  ),
  "r_fgsm": Entry(
    lambda loss, threat, step: attacks.r_fgsm(loss, threat), ("separate", "l1")
  ),
  "bim": Entry(
    lambda loss, threat, step: attacks.bim(
      loss, threat, step_size=step, steps=3
    )
  ),
  "pgd": Entry(
    lambda loss, threat, step: attacks.pgd(
      loss, threat, step_size=step, steps=3, restarts=2
    ),
    ("separate", "linf", "l2", "l1", "frozen", "joint"),
  ),
  "targeted": Entry(
    lambda loss, threat, step: attacks.pgd(
      attacks.white_box(loss, targeted=True), threat, step_size=step, steps=3
    ),
    sign=-1,
  ),
  "mi_fgsm": Entry(
    lambda loss, threat, step: attacks.mi_fgsm(
      loss, threat, step_size=step, steps=3
    )
  ),
  "random_noise": Entry(
    lambda loss, threat, step: attacks.random_noise(loss, threat, draws=3),
    ("separate", "l0"),
  ),
  "sa_pgd": Entry(
    lambda loss, threat, step: attacks.sa_pgd(loss, threat, steps=3)
  ),
  "sa_pgd_steepest": Entry(
    lambda loss, threat, step: attacks.sa_pgd_steepest(loss, threat, steps=3),
    ("separate", "joint"),
  ),
  "auto_pgd": Entry(
    lambda loss, threat, step: attacks.auto_pgd(loss, threat, steps=6),
    ("separate", "l1"),
  ),
  "shrinking_auto_pgd": Entry(
    lambda loss, threat, step: attacks.shrinking_auto_pgd(
      loss, threat, steps=6, factors=(2.0, 1.0)
    ),
    ("joint_l1",),
    networks=2,  # Two stages of different lengths.
  ),
  "targeted_auto_pgd": Entry(
    lambda loss, threat, step: attacks.within(
      attacks.targeted_auto_pgd(logits_of(loss), threat, steps=5, **RIVAL),
      loss,
      threat,
    ),
    networks=3,  # It ranks the rivals; `within` judges.
  ),
  "slide": Entry(
    lambda loss, threat, step: attacks.slide(
      loss, threat, step_size=step, steps=3, quantile=0.9
    ),
    ("both_l1",),
  ),
  "worst_of": Entry(
    lambda loss, threat, step: attacks.worst_of(
      [attacks.fgsm(loss, threat), attacks.random_noise(loss, threat, draws=2)]
    ),
    networks=2,  # Two attacks.
  ),
  "gradient_mean": Entry(
    lambda loss, threat, step: attacks.bim(
      attacks.gradient_mean(
        [attacks.white_box(loss), attacks.nes(loss, draws=2)]
      ),
      threat,
      step_size=step,
      steps=2,
    ),
    networks=3,  # Two oracles, and what one of them asks around the point.
  ),
  "eot": Entry(
    lambda loss, threat, step: attacks.bim(
      attacks.eot(loss, 3), threat, step_size=step, steps=2
    )
  ),
  "spsa": Entry(
    lambda loss, threat, step: attacks.bim(
      attacks.spsa(loss, draws=4), threat, step_size=step, steps=3
    ),
    networks=2,  # At the point and around it.
  ),
  "transfer": Entry(
    lambda loss, threat, step: attacks.transfer(
      [attacks.fgsm(loss, threat)], loss
    ),
    networks=2,  # The stand-in and the target.
  ),
  "square": Entry(
    lambda loss, threat, step: attacks.square(loss, threat, queries=12),
    ("separate", "joint"),
  ),
  "fab": Entry(
    lambda loss, threat, step: limited(
      attacks.fab(logits_of(loss), threat, steps=8), loss, threat
    ),
    ("both_l1",),
    networks=3,  # It judges its result, and so does `within`.
  ),
  "targeted_fab": Entry(
    lambda loss, threat, step: limited(
      attacks.targeted_fab(logits_of(loss), threat, steps=8), loss, threat
    ),
    ("joint",),
    networks=4,  # As `fab`, and it ranks the rivals.
  ),
  "deepfool": Entry(
    lambda loss, threat, step: limited(
      attacks.deepfool(logits_of(loss), threat, steps=6), loss, threat
    ),
    networks=3,  # As `fab`.
  ),
  "carlini_wagner": Entry(
    lambda loss, threat, step: limited(
      attacks.carlini_wagner(logits_of(loss), threat, **WEIGHING), loss, threat
    ),
    ("joint",),
    rounding=0.02,  # Adam makes whole steps of gradients that are nearly 0.
    networks=4,  # As `fab`, and it judges the clean input.
  ),
  "ead": Entry(
    lambda loss, threat, step: limited(
      attacks.ead(logits_of(loss), threat, **WEIGHING), loss, threat
    ),
    ("joint_l1",),
    rounding=1e-3,  # Sums over a hundred steps.
    networks=5,  # As `carlini_wagner`, and its slope is that of a point ahead.
  ),
  "hop_skip_jump": Entry(
    lambda loss, threat, step: attacks.within(
      attacks.hop_skip_jump(loss, threat, rounds=2, halvings=4, draws=4),
      loss,
      threat,
    ),
    networks=2,  # `within` judges.
  ),
  "pgd_l0": Entry(
    lambda loss, threat, step: attacks.pgd_l0(
      loss, threat, steps=3, step_size=4.0
    ),
    ("l0",),
  ),
  "spgd": Entry(
    lambda loss, threat, step: attacks.spgd(loss, threat, steps=6), ("l0",)
  ),
  "sparse_rs": Entry(
    lambda loss, threat, step: attacks.sparse_rs(loss, threat, queries=8),
    ("l0",),
  ),
  "jsma": Entry(
    lambda loss, threat, step: attacks.jsma(
      attacks.white_box(loss), threat, steps=5
    ),
    ("l0",),
  ),
  "corner_search": Entry(
    lambda loss, threat, step: attacks.corner_search(
      loss, threat, sites=48, draws=4
    ),
    ("l0",),
  ),
  "sigma_zero": Entry(
    lambda loss, threat, step: attacks.within(
      attacks.sigma_zero(loss, steps=12), loss, threat
    ),
    ("l0",),
    networks=2,  # `within` judges.
  ),
  "imperceptible": Entry(
    lambda loss, budget, step: attacks.within(
      attacks.imperceptible(
        logits_of(loss), budget=budget, steps=6, step_size=0.2
      ),
      loss,
      attacks.linf(1.0),
    ),
    ("perceptual",),
    networks=2,  # `within` judges.
  ),
}
# Public, but not attacks on their own: tried by the attacks above, or pieces.
TRIED = {"ascend", "as_attack", "search", "nes", "white_box", "within"}
SUITES = {"autoattack_plus", "autoattack_rand", "autoattack_standard"}
PIECES = {
  "Effort",
  "Keep",
  "MinimalAttack",
  "MinimalResult",
  "Oracle",
  "Point",
  "Probe",
  "Proposer",
  "Threat",
  "ascend_recorded",
  "best_loss",
  "candidate",
  "check_inputs",
  "choose_sharpness",
  "frozen",
  "joint",
  "keep_better",
  "l0",
  "l1",
  "l2",
  "last",
  "linf",
  "nearest_success",
  "noise_tolerance",
  "per_modality",
  "perceptual_distance",
  "success_then_loss",
  "threat_of",
}
VARIANTS = {"targeted"}
