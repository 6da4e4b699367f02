"""A function kept apart is the function, as a call of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.kernels.convolution import convolve
from snnjax.kernels.isolate import isolated


def work(x, scale):
  inner = jax.jit(jnp.sin)
  return {"wave": inner(x * scale), "square": jnp.square(x)}


def total(function):
  return lambda x: sum(map(jnp.sum, jax.tree.leaves(function(x, 1.5))))


X = jnp.linspace(-1, 1, 12).reshape(3, 4)


@pytest.mark.parametrize(
  "transform",
  [
    lambda f: lambda x: f(x, 1.5),
    lambda f: jax.vmap(lambda x: f(x, 1.5)),
    lambda f: jax.grad(total(f)),
    lambda f: lambda x: jax.jvp(jax.grad(total(f)), (x,), (jnp.cos(x),)),
    lambda f: lambda x: jax.lax.scan(lambda c, row: (c, f(row, c)), 1.5, x)[1],
  ],
)
@pytest.mark.parametrize("outer", [jax.jit, lambda f: f])
def test_is_the_function(transform, outer):
  results = [outer(transform(f))(X) for f in (isolated(work), work)]
  for ours, plain in zip(*map(jax.tree.leaves, results), strict=True):
    np.testing.assert_allclose(ours, plain, rtol=1e-6)


def calls(function, *operands):
  text = jax.jit(function).lower(*operands).compile().as_text()
  return text.count(" call(")


def test_is_one_call_whatever_it_calls():
  assert calls(lambda x: isolated(work)(x, 1.5), X) == 1
  assert calls(lambda x: work(x, 1.5), X) == 0
  assert calls(lambda x: [isolated(work)(x, s) for s in (1.5, 2.5)], X) == 2


def test_is_no_call_where_the_forms_for_cpus_are_off(monkeypatch):
  monkeypatch.setenv("SNNJAX_CPU_KERNELS", "0")
  assert calls(lambda x: isolated(work)(x, 1.5), X) == 0


def test_gradient_of_few_channels_is_apart_on_a_cpu_only():
  inputs, kernel = jnp.ones((2, 8, 8, 1)), jnp.ones((3, 3, 1, 16))
  gradient = jax.grad(lambda x: jnp.sum(jnp.square(convolve(x, kernel))))
  assert calls(gradient, inputs) == 1
  marked = functools.partial(_marked, gradient, inputs)
  assert marked("cpu")
  assert not marked("cuda")
  assert not marked("tpu")


def _marked(function, operand, platform):
  lowered = jax.jit(function).trace(operand)
  return "inlineable" in lowered.lower(lowering_platforms=(platform,)).as_text()
