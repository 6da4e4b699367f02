"""Networks whose gradient is masked, each in its own way, and honest ones.

All masks hide the same small network. They are the branches of one function,
so that every program of the alarms is compiled once for all of them.

``python -m tests.laws.sentinels`` measures the table of ``docs/alarms.md``.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import attacks, checks, encoders, losses, models, neurons, prng
from snnjax.backward.rules import Bptt
from snnjax.checks import Effort, Examples, Measurements, Subject
from snnjax.derivatives import with_gradient_of
from snnjax.intervals import clopper_pearson
from snnjax.surrogates import atan

SIZE, WIDTH, CLASSES = 32, 6, 3
RADIUS = 0.25
RNG = np.random.default_rng(5)
FIRST = jnp.asarray(RNG.normal(size=(WIDTH, 10)), jnp.float32)
SECOND = jnp.asarray(RNG.normal(size=(10, CLASSES)), jnp.float32)
# Images are whole numbers of 255ths.
PIXELS = np.round(RNG.random((SIZE, WIDTH)) * 255)
INPUTS = jnp.asarray(PIXELS / 255, jnp.float32)
KEY = jax.random.key(0)
# The direction, of length one, that moves the network least.
ALONG = np.linalg.svd(np.asarray(FIRST))[0][:, -1]


def plain(key, inputs):
  """Nothing is hidden."""
  del key
  return jnp.tanh((inputs - 0.5) @ FIRST) @ SECOND


def rectified(key, inputs):
  """Nothing is hidden; flat pieces that meet at edges."""
  del key
  return jax.nn.relu((inputs - 0.5) @ FIRST + 0.3) @ SECOND


def dead(key, inputs):
  """No gradient at all."""
  return jax.lax.stop_gradient(plain(key, inputs))


def quantised(key, inputs):
  """A staircase whose treads slope the wrong way."""
  steps = jnp.round(inputs * 8) / 8
  return plain(key, with_gradient_of(steps, -inputs))


def noisy(key, inputs):
  """Another network in every forward pass."""
  keys = prng.example_keys(key, len(inputs))
  noise = jax.vmap(lambda k: jax.random.normal(k, (WIDTH,)))(keys)
  return plain(key, inputs + 0.1 * noise)


def saturated(key, inputs):
  """Probabilities in place of logits, as certain as floats allow."""
  return jax.nn.softmax(100 * plain(key, inputs))


def cold(key, inputs):
  """Logits over a temperature of a thousandth."""
  return plain(key, inputs) / 1e-3


def tied(key, inputs):
  """The third class keeps the ratio of the DLR loss at -1/2, whatever comes."""
  logits = plain(key, inputs)
  order = jnp.argsort(logits, 1)
  first, second = (
    jnp.take_along_axis(logits, order[:, place, None], 1) for place in (2, 1)
  )
  third = jax.nn.one_hot(order[:, 0], CLASSES, dtype=bool)
  return jnp.where(third, 2 * second - first, logits)


def mixing(key, inputs):
  """Normalises by the batch it is in."""
  return plain(key, inputs - jnp.mean(inputs, 0, keepdims=True) + 0.5)


def on_lattice(inputs):
  """Whether all of an input is whole numbers of 255ths, [B, 1]."""
  pixels = inputs * 255
  return jnp.all(jnp.abs(pixels - jnp.round(pixels)) < 1e-2, 1, keepdims=True)


def zero_off_lattice(key, inputs):
  """A gradient for images alone, and none for any other point."""
  logits = plain(key, inputs)
  still = jax.lax.stop_gradient(logits)
  return jnp.where(on_lattice(inputs), logits, still)


def reversed_off_lattice(key, inputs):
  """A gradient that is right for images, and leads back from elsewhere."""
  logits = plain(key, inputs)
  return jnp.where(
    on_lattice(inputs), logits, with_gradient_of(logits, -logits)
  )


def zero_on_lattice(key, inputs):
  """A gradient everywhere but for images."""
  logits = plain(key, inputs)
  still = jax.lax.stop_gradient(logits)
  return jnp.where(on_lattice(inputs), still, logits)


def rippled(key, inputs):
  """A small wave of high frequency along one direction."""
  wave = 0.03 * jnp.sin(9000 * jnp.sum(inputs * ALONG[None], 1, keepdims=True))
  return plain(key, inputs) + wave * jnp.arange(CLASSES)[None]


def far_from_boundary(key, inputs):
  """A gradient near the decision boundary only."""
  logits = plain(key, inputs)
  best = jax.lax.top_k(logits, 2)[0]
  near = best[:, :1] - best[:, 1:] < 0.1
  return jnp.where(near, logits, jax.lax.stop_gradient(logits))


def veiled(logits, labels):
  """The cross-entropy, whose gradient alone is that of its negative."""
  loss = losses.cross_entropy(logits, labels)
  return with_gradient_of(loss, -loss)


SPIKING = models.mlp(
  (48,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.direct(8), classes=3
)
WEIGHTS = SPIKING.init(jax.random.key(2), INPUTS)
SPIKES = models.classifier(SPIKING, WEIGHTS, rule=Bptt(atan()))
CROSS_ENTROPY = losses.cross_entropy
ZERO = "Gradients are exactly zero"
ELSEWHERE = "The gradient points elsewhere"
FREE = "A gradient-free attack beats the white box"
DISAGREE = "Losses disagree"
DIFFER = "Two forward passes differ"
BATCH = "The batch matters"
SHOWN = (ZERO, ELSEWHERE, FREE, DISAGREE, DIFFER, BATCH)
FIRED, EDGE, SILENT = "fired", "at the edge", ""
TABLE = pathlib.Path(__file__).parents[2] / "docs" / "alarms.md"


class Sentinel(NamedTuple):
  """A network, the reported loss, and the alarms that must fire."""

  logits_fn: Callable
  loss: Callable = CROSS_ENTROPY
  alarms: frozenset = frozenset()


SENTINELS = {
  "no gradient": Sentinel(dead, alarms=frozenset({ZERO, FREE})),
  "staircase sloping back": Sentinel(
    quantised, alarms=frozenset({ELSEWHERE, FREE})
  ),
  "random": Sentinel(noisy, alarms=frozenset({DIFFER})),
  "probabilities for logits": Sentinel(
    saturated, alarms=frozenset({ZERO, DISAGREE})
  ),
  "temperature of 0.001": Sentinel(
    cold, alarms=frozenset({ZERO, DISAGREE, FREE})
  ),
  "tied DLR": Sentinel(
    tied, losses.dlr, frozenset({ELSEWHERE, DISAGREE, FREE})
  ),
  "mixing the batch": Sentinel(mixing, alarms=frozenset({BATCH})),
  "zero off the lattice": Sentinel(
    zero_off_lattice, alarms=frozenset({ZERO, FREE})
  ),
  "reversed off the lattice": Sentinel(
    reversed_off_lattice, alarms=frozenset({ELSEWHERE, FREE})
  ),
  "zero on the lattice": Sentinel(
    zero_on_lattice, alarms=frozenset({ZERO, FREE})
  ),
  "fine ripples": Sentinel(rippled, alarms=frozenset({ELSEWHERE, FREE})),
  "zero far from the boundary": Sentinel(
    far_from_boundary, alarms=frozenset({ZERO, FREE})
  ),
  "masked reported loss": Sentinel(
    plain, veiled, frozenset({ELSEWHERE, DISAGREE, FREE})
  ),
}
HONEST = {
  "smooth": Sentinel(plain),
  "rectified": Sentinel(rectified),
  "spiking": Sentinel(SPIKES),
}
EVERY = SENTINELS | HONEST
# What draws is compiled alone: its programs average over many draws.
_BRANCHES = list(
  dict.fromkeys(
    each.logits_fn for each in EVERY.values() if each.logits_fn is not noisy
  )
)


def _switched(which, key, inputs):
  return jax.lax.switch(which, _BRANCHES, key, inputs)


def network(name):
  """Returns a sentinel's logits, in one function for all of them."""
  made = EVERY[name].logits_fn
  if made is noisy:
    return jax.tree_util.Partial(noisy)
  which = jnp.asarray(_BRANCHES.index(made))
  return jax.tree_util.Partial(_switched, which)


_PREDICTED = jax.jit(lambda logits_fn: jnp.argmax(logits_fn(KEY, INPUTS), 1))


def subject(name, **changes):
  """Returns a sentinel under the attack that is reported of it."""
  made = network(name)
  told = Subject(
    made, {"own": made}, attacks.linf, RADIUS, loss=EVERY[name].loss, steps=10
  )
  return told._replace(**changes)


def examples(name):
  """Returns inputs, and what the network says of them as labels.

  Those of a random or mixing network are what it says without.
  """
  hidden = EVERY[name].logits_fn in (noisy, mixing)
  return Examples(
    KEY, INPUTS, _PREDICTED(network("smooth" if hidden else name))
  )


@functools.cache
def measured(name) -> Measurements:
  """Returns what tells the masks apart, measured of one sentinel."""
  effort = Effort(pairs=16, directions=16, alone=1)
  parts = checks.parts(subject(name), examples(name), effort)
  wanted = ("randomness", "gradient", "losses", "batch", "gradient_free")
  return checks.merge(*(parts[part]() for part in wanted))


def _decided_by_one(alarm):
  """Whether one example more or less would decide otherwise."""
  for name, value in alarm.evidence.items():
    if f"{name}_low" not in alarm.evidence:
      continue
    total = int(alarm.evidence.get("gradients_compared", SIZE))
    share = 1 - 0.05 / 6 if alarm.name == ELSEWHERE else 0.95
    counts = {
      min(max(round(value * total) + more, 0), total) for more in (-1, 0, 1)
    }
    limit = alarm.evidence["limit"]
    fires = {clopper_pearson(k, total, share).low > limit for k in counts}
    return len(fires) > 1
  return False


def row(name):
  """Returns by alarm of `SHOWN` where it stands, as the table says it."""
  alarms = {alarm.name: alarm for alarm in checks.check(measured(name))}
  told = {}
  for shown in SHOWN:
    state = FIRED if alarms[shown].fired else SILENT
    told[shown] = EDGE if _decided_by_one(alarms[shown]) else state
  return told


def table():
  """Returns the table of all sentinels as lines of Markdown."""
  lines = [["network", *SHOWN], ["---"] * (1 + len(SHOWN))]
  for name in EVERY:
    kind = " (honest)" if name in HONEST else ""
    lines.append([name + kind, *row(name).values()])
  return [f"| {' | '.join(cells)} |" for cells in lines]


def committed():
  """Returns the table's rows in the documentation: by network, by alarm."""
  lines = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in TABLE.read_text().splitlines()
    if line.startswith("| ")
  ]
  head, _, *rows = lines
  return {
    name.removesuffix(" (honest)"): dict(zip(head[1:], cells, strict=True))
    for name, *cells in rows
  }


def main():
  """Measures the table and writes it in place of the one that is there."""
  kept = [
    line for line in TABLE.read_text().splitlines() if not line.startswith("| ")
  ]
  place = kept.index("<!-- python -m tests.laws.sentinels -->") + 2
  TABLE.write_text("\n".join([*kept[:place], *table(), *kept[place:]]) + "\n")


if __name__ == "__main__":
  main()
