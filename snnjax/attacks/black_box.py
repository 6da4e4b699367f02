"""Gradients estimated from losses alone: NES and SPSA.

Other attacks without a gradient: `random_noise` with many draws, `sparse_rs`,
`corner_search`, `hop_skip_jump` and `transfer`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from snnjax import prng
from snnjax.attacks.oracles import Oracle, OracleState, Probe, Source, as_oracle
from snnjax.attacks.threats import ravel
from snnjax.interfaces import Array, Inputs, Key, Labels
from snnjax.losses import LogitsLoss
from snnjax.validation import check_count, check_positive


def nes(
  source: Source,
  *,
  loss: LogitsLoss | None = None,
  draws: int,
  width: float = 0.01,
) -> Oracle:
  """Returns the oracle that estimates gradients by Gaussian differences.

  ``g = 1/(2 n sigma) sum_i (L(x + sigma u_i) - L(x - sigma u_i)) u_i`` with
  standard normal u_i: the gradient of the loss smoothed by sigma, from 2n + 1
  queries in constant memory.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    draws: n, the number of pairs.
    width: sigma, in raw units.

  Raises:
    ValueError: if `draws` or `width` is not positive.

  References:
    Andrew Ilyas, Logan Engstrom, Anish Athalye, Jessy Lin, 2018, "Black-box
    adversarial attacks with limited queries and information",
    arXiv 1804.08598.
  """
  return _differences(as_oracle(source, loss), draws, width, jax.random.normal)


def spsa(
  source: Source,
  *,
  loss: LogitsLoss | None = None,
  draws: int,
  width: float = 0.01,
) -> Oracle:
  """Returns the oracle that estimates gradients by random signs.

  As `nes`, with u_i uniform over {-1, 1}^d.

  Args:
    source: a logits function, or an oracle whose gradient is not used.
    loss: of a logits function, see `Source`; None is the cross-entropy.
    draws: n, the number of pairs.
    width: sigma, in raw units.

  Raises:
    ValueError: if `draws` or `width` is not positive.

  References:
    Jonathan Uesato, Brendan O'Donoghue, Aaron van den Oord, Pushmeet Kohli,
    2018, "Adversarial risk and the dangers of evaluating against weak
    attacks", arXiv 1802.05666.
  """
  return _differences(
    as_oracle(source, loss), draws, width, jax.random.rademacher
  )


def _differences(
  oracle: Oracle,
  draws: int,
  width: float,
  draw: Callable[..., Array],
) -> Oracle:
  check_count("draws", draws)
  check_positive("width", width)

  def grad(
    key: Key, state: OracleState, inputs: Inputs, labels: Labels
  ) -> tuple[Probe, OracleState]:
    center, restore = ravel.ravel_examples(inputs)
    keys = prng.example_keys(key, center.shape[0])

    def loss_at(key: Key, matrix: Array) -> Array:
      point = ravel.store_like(restore(matrix), inputs)
      return oracle.grad(key, state, point, labels)[0].loss

    def add(total: Array, index: Array) -> tuple[Array, None]:
      noise_keys, probe_keys = prng.split(prng.fold_in(keys, index))
      noise = prng.per_example(
        lambda k: draw(k, center.shape[1:], center.dtype), noise_keys
      )

      def side(sign: Array) -> Array:
        # Both sides see the same randomness of the network.
        return loss_at(
          jax.random.clone(probe_keys), center + sign * width * noise
        )

      above, below = jax.lax.map(side, jnp.asarray([1, -1], center.dtype))
      slope = (above - below).astype(center.dtype)
      return total + slope[:, None] * noise, None

    # A scan: memory for one direction, however many there are.
    start = jnp.zeros_like(center)
    total, _ = jax.lax.scan(add, start, jnp.arange(1, draws + 1))
    here, memory = oracle.grad(prng.fold_in(keys, 0), state, inputs, labels)
    estimate = restore(total / (2 * draws * width))
    return Probe(here.loss, estimate, here.correct), memory

  return Oracle(oracle.init, grad)
