"""`convolve` equals the plain convolution under every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from snnjax.kernels.convolution import convolve, convolve_reference
from snnjax.kernels.cpu import matrix_products

# inputs, kernel, strides, padding: together they reach every form.
CASES = {
  "few pairs": ((8, 7, 6, 1), (3, 3, 1, 4), (1, 1), "SAME"),
  "few outputs": ((3, 7, 6, 5), (3, 3, 5, 2), (1, 1), "SAME"),
  "library": ((8, 9, 8, 5), (3, 3, 5, 14), (1, 1), "SAME"),
  "valid": ((3, 7, 6, 4), (3, 2, 4, 17), (1, 1), "VALID"),
  "wide padding": ((3, 5, 6, 4), (3, 2, 4, 17), (1, 1), ((4, 1), (0, 3))),
  "cropping": ((3, 7, 8, 4), (2, 3, 4, 5), (1, 1), ((-1, 0), (1, -2))),
  "pointwise": ((3, 4, 4, 5), (1, 1, 5, 6), (1, 1), "SAME"),
  "one more row": ((3, 8, 7, 16), (3, 2, 16, 18), (1, 1), "SAME"),
  "one more row, flat": (
    (2, 7, 8, 17),
    (3, 3, 17, 16),
    (1, 1),
    ((0, 2), (0, 0)),
  ),
  "winograd": ((5, 7, 8, 65), (3, 3, 65, 64), (1, 1), ((0, 1), (2, 1))),
  "small images": ((3, 2, 4, 5), (3, 3, 5, 4), (1, 1), "SAME"),
  "strided": ((3, 7, 6, 4), (3, 3, 4, 5), (2, 2), "SAME"),
}
FORMS = ("few pairs", "few outputs", "library", "one more row", "winograd")


def arrays(case):
  shape, kernel, strides, padding = CASES[case]
  key = jax.random.key(7)
  inputs = jax.random.normal(jax.random.fold_in(key, 0), shape)
  filters = jax.random.normal(jax.random.fold_in(key, 1), kernel)
  filters /= np.prod(kernel[:3]) ** 0.5
  options = {"strides": strides, "padding": padding}
  return inputs, filters, options


def assert_same(transform, case, *arguments):
  """Compares both convolutions after `transform`."""
  inputs, filters, options = arrays(case)
  arguments = arguments or (inputs, filters)
  results = [
    jax.jit(transform(functools.partial(form, **options)))(*arguments)
    for form in (convolve, convolve_reference)
  ]
  tolerance = 1e-6 if jax.config.jax_enable_x64 else 1e-5
  for ours, plain in zip(*map(jax.tree.leaves, results), strict=True):
    assert ours.shape == plain.shape
    assert ours.dtype == plain.dtype
    scale = float(jnp.max(jnp.abs(plain)))
    assert scale > 0
    np.testing.assert_allclose(ours, plain, rtol=0, atol=tolerance * scale)


def scalar(form):
  """A function with a gradient that depends on both arguments."""
  return lambda x, k: jnp.sum(jnp.sin(form(x, k)))


def gradients(form):
  return jax.grad(scalar(form), (0, 1))


def value(form):
  return form


def jvp(form):
  return lambda x, k: jax.jvp(form, (x, k), (jnp.cos(x), jnp.sin(k)))


def jvp_of_grad(form):
  return lambda x, k: jax.jvp(gradients(form), (x, k), (jnp.cos(x), k))


def grad_of_jvp(form):
  def slope(x, k):
    return jnp.sum(jnp.square(jvp(form)(x, k)[1]))

  return jax.grad(slope, (0, 1))


def grad_of_grad(form):
  def penalty(x, k):
    images, filters = gradients(form)(x, k)
    return jnp.sum(jnp.square(images)) + jnp.sum(jnp.square(filters))

  return jax.grad(penalty, (0, 1))


def first_order(form):
  """The value, both gradients and the directional derivative."""
  return lambda x, k: (form(x, k), gradients(form)(x, k), jvp(form)(x, k))


def second_order(form):
  orders = (jvp_of_grad(form), grad_of_jvp(form), grad_of_grad(form))
  return lambda x, k: [order(x, k) for order in orders]


@pytest.mark.parametrize("case", CASES)
def test_first_order(case, x64):
  assert_same(first_order, case)


@pytest.mark.parametrize("case", [*FORMS, "wide padding", "strided"])
def test_second_order(case, x64):
  assert_same(second_order, case)


@pytest.mark.parametrize("case", FORMS)
def test_single_precision(case):
  assert_same(first_order, case)


def stacked(case, axes):
  """Three scaled copies of the arguments that have an axis."""

  def stack(array, axis):
    copies = [array, -0.5 * array, 2.0 * array]
    return array if axis is None else jnp.stack(copies, axis)

  return map(stack, arrays(case)[:2], axes)


@pytest.mark.parametrize(
  ("case", "axes"),
  [
    ("few pairs", (0, 0)),
    ("few outputs", (0, 0)),
    ("library", (0, None)),
    ("library", (None, 0)),
    ("library", (2, 3)),
  ],
)
def test_vmap(axes, case, x64):
  def transform(form):
    return jax.vmap(lambda x, k: (form(x, k), grad_of_grad(form)(x, k)), axes)

  assert_same(transform, case, *stacked(case, axes))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_gradient_of_vmap(axes, x64):
  assert_same(
    lambda form: gradients(jax.vmap(form, axes)),
    "library",
    *stacked("library", axes),
  )


def test_vmap_of_vmap_over_both(x64):
  inputs, filters = stacked("library", (0, 0))

  def transform(form):
    return jax.vmap(jax.vmap(gradients(form)), (0, None))

  assert_same(transform, "library", jnp.stack([inputs, -inputs]), filters)


def scanned(form):
  def total(x, k):
    def body(carry, shift):
      return carry + form(x + shift, k), jnp.sum(carry)

    return jax.lax.scan(body, form(x, k), jnp.arange(3.0, dtype=x.dtype))

  return jax.grad(lambda x, k: jnp.sum(jnp.sin(total(x, k)[0])), (0, 1))


def looped(form):
  def ascend(x, k):
    def step(_, x):
      return x + 0.1 * jnp.tanh(gradients(form)(x, k)[0])

    return jax.lax.fori_loop(0, 3, step, x)

  return ascend


def rematerialised(form):
  return jax.grad(jax.checkpoint(scalar(form)), (0, 1))


@pytest.mark.parametrize("case", ["few pairs", "library"])
@pytest.mark.parametrize("transform", [scanned, looped, rematerialised])
def test_control_flow(transform, case, x64):
  assert_same(transform, case)


def test_without_jit():
  inputs, filters, options = arrays("library")
  np.testing.assert_allclose(
    convolve(inputs, filters, **options),
    convolve_reference(inputs, filters, **options),
    rtol=1e-5,
    atol=1e-5,
  )


@pytest.mark.parametrize("batch", [1, 7, 24])
def test_weight_gradient_in_parts(batch, x64):
  """The parts cover every example whatever the batch size."""
  key = jax.random.key(3)
  inputs = jax.random.normal(key, (batch, 30, 30, 3))
  filters = jnp.ones((2, 2, 3, 3), inputs.dtype)
  assert matrix_products.count_parts(24, 900) == 8
  assert_same(gradients, "library", inputs, filters)


@pytest.mark.parametrize(
  ("case", "transform"),
  [("library", value), *((case, gradients) for case in FORMS)],
)
def test_batch_sharded(transform, case):
  """Each of two devices works on its own examples; only weights are summed."""
  _, kernel, _, padding = CASES[case]
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec("batch"))
  whole = NamedSharding(mesh, PartitionSpec())
  shape = (128, 16, 16, kernel[2])
  inputs = jax.random.normal(jax.random.key(1), shape)
  filters = jax.random.normal(jax.random.key(2), kernel)
  form = functools.partial(convolve, padding=padding)
  run = jax.jit(transform(form))
  expected = run(inputs, filters)
  placed = jax.device_put(inputs, split), jax.device_put(filters, whole)
  text = run.lower(*placed).compile().as_text()
  for collective in ("all-gather", "all-to-all", "collective-permute"):
    assert collective not in text
  assert ("all-reduce" in text) == (transform is gradients)
  result = run(*placed)
  first = jax.tree.leaves(result)[0]
  assert first.sharding.is_equivalent_to(split, first.ndim)
  for ours, plain in zip(
    *map(jax.tree.leaves, (result, expected)), strict=True
  ):
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
  ("transform", "products"), [(value, 16), (gradients, 48)]
)
def test_wide_kernels_take_winograds_form(transform, products):
  """16 products each for the result, the input's and the kernel's gradient."""
  inputs, filters, options = arrays("winograd")
  run = jax.jit(transform(functools.partial(convolve, **options)))
  text = run.lower(inputs, filters).as_text()
  assert text.count("stablehlo.dot_general") == products
  assert "stablehlo.convolution" not in text


@pytest.mark.parametrize(
  "shape", [(16, 14, 14, 16, 32), (16, 7, 9, 32, 16), (2, 28, 28, 24, 24)]
)
def test_one_more_row_keeps_a_convolution_from_ynnpack(shape):
  images, kernel = jnp.ones(shape[:4]), jnp.ones((3, 3, *shape[3:]))

  def program(form):
    return jax.jit(form).lower(images, kernel).compile().as_text()

  if "__ynn_fusion" not in program(convolve_reference):
    pytest.skip("this version of XLA has no YNNPACK")
  assert "__ynn_fusion" not in program(convolve)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("transform", [value, gradients])
def test_other_platforms_get_the_plain_convolution(transform, platform):
  inputs, filters, options = arrays("library")

  def convolutions(form):
    run = jax.jit(transform(functools.partial(form, **options)))
    lowered = run.trace(inputs, filters).lower(lowering_platforms=(platform,))
    return sorted(
      line.split("dim_numbers")[1]
      for line in lowered.as_text().splitlines()
      if "stablehlo.convolution" in line
    )

  assert convolutions(convolve)
  assert convolutions(convolve) == convolutions(convolve_reference)


def test_matmul_precision_is_kept():
  inputs, filters, options = arrays("library")
  run = jax.jit(functools.partial(convolve, **options))
  with jax.default_matmul_precision("highest"):
    text = run.lower(inputs, filters).as_text()
  assert "HIGHEST" in text


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_other_types(dtype):
  inputs = jnp.arange(2 * 4 * 4 * 2).reshape(2, 4, 4, 2).astype(dtype) % 5
  filters = (jnp.arange(3 * 3 * 2 * 3).reshape(3, 3, 2, 3) % 3).astype(dtype)
  result = convolve(inputs, filters)
  assert result.dtype == dtype
  np.testing.assert_array_equal(result, convolve_reference(inputs, filters))


@pytest.mark.parametrize(
  ("inputs", "kernel", "options", "name"),
  [
    ((4, 4, 1), (3, 3, 1, 2), {}, "inputs"),
    (
      (1, 4, 4, 2),
      (3, 3, 1, 2),
      {},
      r"kernel must be \[kh, kw, 2, O\]; got shape \(3, 3, 1, 2\)",
    ),
    ((1, 4, 4, 1), (3, 3, 1, 2), {"strides": (0, 1)}, "strides"),
    ((1, 4, 4, 1), (3, 3, 1, 2), {"padding": "FULL"}, "padding"),
    ((1, 4, 4, 1), (3, 3, 1, 2), {"padding": ((1, 1),)}, "padding"),
    ((1, 2, 4, 1), (3, 3, 1, 2), {"padding": "VALID"}, "rows"),
  ],
)
def test_bad_arguments(inputs, kernel, options, name):
  with pytest.raises(ValueError, match=name):
    convolve(jnp.ones(inputs), jnp.ones(kernel), **options)


def primitives():
  """How many convolutions, ours and JAX's, a call and its gradients are."""
  inputs, filters, options = arrays("library")

  def total(inputs, filters):
    return jnp.sum(jnp.square(convolve(inputs, filters, **options)))

  text = str(jax.make_jaxpr(jax.grad(total, (0, 1)))(inputs, filters))
  names = ("snnjax_convolution", "snnjax_weight_gradient", "conv_general_dilat")
  return [text.count(name) for name in names]


def test_a_switch_gives_back_the_plain_convolution(monkeypatch):
  assert primitives() == [2, 1, 0]
  monkeypatch.setenv("SNNJAX_CPU_KERNELS", "0")
  assert primitives() == [0, 0, 3]
  monkeypatch.setenv("SNNJAX_CPU_KERNELS", "off")
  with pytest.raises(ValueError, match="SNNJAX_CPU_KERNELS must be 0 or 1; go"):
    primitives()
