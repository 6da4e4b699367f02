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
  # Whatever asks a caller's network asks it exactly; on a CPU nothing else
  # would tell.
  assert jax.config.jax_default_matmul_precision == "highest"
  size = jnp.abs(lax.stop_gradient(logits)) + 1
  return logits + 0 * lax.digamma(size)


MARK = "digamma"


def fused_logits(key, inputs):
  seen = inputs["events"].reshape(inputs["events"].shape[0], 2, 4, 4)
  return image_logits(key, inputs["image"]) + image_logits(key, seen[:, 0] ** 2)


def at_walls(values):
  """A third of the numbers on the walls of the box, as in real images."""
  on_wall = np.random.default_rng(2).random(values.shape) < 1 / 3
  return jnp.asarray(np.where(on_wall, np.round(values), values), jnp.float32)


def batch(modalities, rows):
  """The first examples of one data set; the network errs on every fifth."""
  rng = np.random.default_rng(1)
  image = at_walls(rng.random((64, 4, 4, 1)))
  events = at_walls(rng.random((64, 2, 4, 4, 1)))
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
  "separate_l0": Case(
    lambda size: attacks.per_modality(
      {"image": attacks.l0(3 * size), "events": attacks.l0(5 * size)}
    ),
    lambda moved, clean: np.maximum(
      *(
        (flat(moved[name]) != flat(clean[name])).sum(1) / sites
        for name, sites in (("image", 3), ("events", 5))
      )
    ),
  ),
  "perceptual": Case(lambda size: PERCEPTUAL * size, seen),
}


CROSS_ENTROPY = {"loss": losses.cross_entropy}  # where it is not the default


def white_box(logits, targeted=False):
  loss = losses.scored(logits, losses.cross_entropy)
  return attacks.white_box(loss, targeted)


def limited(attack, logits, threat):
  return attacks.within(attack, logits, threat, **CROSS_ENTROPY)


def nearest(attack, logits, threat):
  return limited(attacks.as_attack(attack), logits, threat)


class Entry(NamedTuple):
  """How to build an attack, and the threats it is held to."""

  build: object  # (logits function, threat, step) -> attack
  threats: tuple = ("separate",)
  sign: int = 1  # -1: labels are targets
  rounding: float = 2e-5  # by which the size of the batch may change inputs
  networks: int = 1  # how often the network stands in its program


WEIGHING = {"steps": 20, "searches": 3, "step_size": 0.1, "weight": 0.1}
RIVAL = {"loss": losses.targeted_margin_loss}
ATTACKS = {
  "fgsm": Entry(
    lambda logits, threat, step: attacks.fgsm(logits, threat),
    ("separate", "l2"),
  ),
  "r_fgsm": Entry(
    lambda logits, threat, step: attacks.r_fgsm(logits, threat),
    ("separate", "l1"),
  ),
  "bim": Entry(
    lambda logits, threat, step: attacks.bim(
      logits, threat, step_size=step, steps=3
    )
  ),
  "pgd": Entry(
    lambda logits, threat, step: attacks.pgd(
      logits, threat, step_size=step, steps=3, restarts=2
    ),
    ("separate", "linf", "l2", "l1", "frozen", "joint"),
  ),
  "targeted": Entry(
    lambda logits, threat, step: attacks.pgd(
      white_box(logits, targeted=True),
      threat,
      step_size=step,
      steps=3,
    ),
    sign=-1,
  ),
  "mi_fgsm": Entry(
    lambda logits, threat, step: attacks.mi_fgsm(
      logits, threat, step_size=step, steps=3
    )
  ),
  "random_noise": Entry(
    lambda logits, threat, step: attacks.random_noise(logits, threat, draws=3),
    ("separate", "l0"),
  ),
  "sa_pgd": Entry(
    lambda logits, threat, step: attacks.sa_pgd(logits, threat, steps=3)
  ),
  "sa_pgd_steepest": Entry(
    lambda logits, threat, step: attacks.sa_pgd_steepest(
      logits, threat, steps=3
    ),
    ("separate", "joint"),
  ),
  "auto_pgd": Entry(
    lambda logits, threat, step: attacks.auto_pgd(logits, threat, steps=6),
    ("separate", "l1"),
  ),
  "shrinking_auto_pgd": Entry(
    lambda logits, threat, step: attacks.shrinking_auto_pgd(
      logits, threat, steps=6, factors=(2.0, 1.0)
    ),
    ("joint_l1",),
    networks=2,  # Two stages of different lengths.
  ),
  "targeted_auto_pgd": Entry(
    lambda logits, threat, step: limited(
      attacks.targeted_auto_pgd(logits, threat, steps=5, **RIVAL),
      logits,
      threat,
    ),
    networks=3,  # It ranks the rivals; `within` judges.
  ),
  "slide": Entry(
    lambda logits, threat, step: attacks.slide(
      logits, threat, step_size=step, steps=3, quantile=0.9
    ),
    ("both_l1",),
  ),
  "worst_of": Entry(
    lambda logits, threat, step: attacks.worst_of(
      [
        attacks.fgsm(logits, threat),
        attacks.random_noise(logits, threat, draws=2),
      ]
    ),
    networks=2,  # Two attacks.
  ),
  "gradient_mean": Entry(
    lambda logits, threat, step: attacks.bim(
      attacks.gradient_mean(
        [
          white_box(logits),
          attacks.nes(logits, draws=2),
        ]
      ),
      threat,
      step_size=step,
      steps=2,
    ),
    networks=3,  # Two oracles, and what one of them asks around the point.
    rounding=1e-4,  # NES divides the rounding of losses by a small width.
  ),
  "eot": Entry(
    lambda logits, threat, step: attacks.bim(
      attacks.eot(logits, 3), threat, step_size=step, steps=2
    )
  ),
  "spsa": Entry(
    lambda logits, threat, step: attacks.bim(
      attacks.spsa(logits, draws=4), threat, step_size=step, steps=3
    ),
    networks=2,  # At the point and around it.
  ),
  "transfer": Entry(
    lambda logits, threat, step: attacks.transfer(
      [attacks.fgsm(logits, threat)], logits, **CROSS_ENTROPY
    ),
    networks=2,  # The stand-in and the target.
  ),
  "square": Entry(
    lambda logits, threat, step: attacks.square(
      logits, threat, queries=12, **CROSS_ENTROPY
    ),
    ("separate", "joint"),
  ),
  "fab": Entry(
    lambda logits, threat, step: nearest(
      attacks.fab(logits, threat, steps=8), logits, threat
    ),
    ("both_l1",),
    networks=3,  # It judges its result, and so does `within`.
  ),
  "targeted_fab": Entry(
    lambda logits, threat, step: nearest(
      attacks.targeted_fab(logits, threat, steps=8), logits, threat
    ),
    ("joint",),
    networks=4,  # As `fab`, and it ranks the rivals.
  ),
  "deepfool": Entry(
    lambda logits, threat, step: nearest(
      attacks.deepfool(logits, threat, steps=6), logits, threat
    ),
    networks=3,  # As `fab`.
  ),
  "carlini_wagner": Entry(
    lambda logits, threat, step: nearest(
      attacks.carlini_wagner(logits, threat, **WEIGHING), logits, threat
    ),
    ("joint",),
    rounding=0.02,  # Adam makes whole steps of gradients that are nearly 0.
    networks=4,  # As `fab`, and it judges the clean input.
  ),
  "ead": Entry(
    lambda logits, threat, step: nearest(
      attacks.ead(logits, threat, **WEIGHING), logits, threat
    ),
    ("joint_l1",),
    rounding=1e-3,  # Sums over a hundred steps.
    networks=5,  # As `carlini_wagner`, and its slope is that of a point ahead.
  ),
  "hop_skip_jump": Entry(
    lambda logits, threat, step: limited(
      attacks.hop_skip_jump(logits, threat, rounds=2, halvings=4, draws=4),
      logits,
      threat,
    ),
    networks=2,  # `within` judges.
  ),
  "pgd_l0": Entry(
    lambda logits, threat, step: attacks.pgd_l0(
      logits, threat, steps=3, step_size=4.0
    ),
    ("l0",),
  ),
  "spgd": Entry(
    lambda logits, threat, step: attacks.spgd(logits, threat, steps=6),
    ("l0", "separate_l0"),
  ),
  "sparse_rs": Entry(
    lambda logits, threat, step: attacks.sparse_rs(
      logits, threat, queries=8, **CROSS_ENTROPY
    ),
    ("l0", "separate_l0"),
  ),
  "jsma": Entry(
    lambda logits, threat, step: attacks.jsma(
      white_box(logits),
      threat,
      steps=5,
    ),
    ("l0",),
  ),
  "corner_search": Entry(
    lambda logits, threat, step: attacks.corner_search(
      logits, threat, sites=48, draws=4, **CROSS_ENTROPY
    ),
    ("l0",),
  ),
  "sigma_zero": Entry(
    lambda logits, threat, step: limited(
      attacks.sigma_zero(logits, steps=12, **CROSS_ENTROPY), logits, threat
    ),
    ("l0",),
    networks=2,  # `within` judges.
  ),
  "latent_attack": Entry(
    lambda logits, threat, step: attacks.as_attack(
      attacks.latent_attack(
        lambda z, clean: jax.tree.map(lambda a, x: x + jnp.sin(a), z, clean),
        logits,
        threat,
        **CROSS_ENTROPY,
        start=lambda key, clean: jax.tree.map(jnp.zeros_like, clean),
        search=lambda oracle: attacks.bim(
          oracle, attacks.linf(1.0, (-np.inf, np.inf)), step_size=0.2, steps=3
        ),
      )
    )
  ),
  "imperceptible": Entry(
    lambda logits, budget, step: limited(
      attacks.imperceptible(logits, budget=budget, steps=6, step_size=0.2),
      logits,
      attacks.linf(1.0),
    ),
    ("perceptual",),
    networks=2,  # `within` judges.
  ),
}
# Public, but not attacks on their own: tried by the attacks above, or pieces.
TRIED = {
  "ascend",
  "as_attack",
  "search",
  "nes",
  "through",
  "white_box",
  "within",
}
SUITES = {
  "autoattack_plus",
  "autoattack_rand",
  "autoattack_standard",
  "quick_suite",
  "standard_suite",
}
PIECES = {
  "Effort",
  "Keep",
  "LatentResult",
  "MinimalAttack",
  "MinimalResult",
  "Oracle",
  "Point",
  "Probe",
  "Proposer",
  "Source",
  "SuiteAttack",
  "SuiteError",
  "Threat",
  "ascend_recorded",
  "assg",
  "best_loss",
  "box_only",
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
