"""The fused kernels, in the interpreter, are the scan; where none runs it says.

No GPU has run them. What stands here instead: the interpreter's values and
gradients, and the text that is lowered for CUDA.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import backward, encoders, models, neurons, readouts, surrogates
from snnjax.backward import pdsg
from snnjax.derivatives import replace_derivative
from snnjax.kernels import scan
from snnjax.kernels.gpu import devices, triton
from snnjax.kernels.gpu.fused import fused_scan
from snnjax.kernels.scan import neuron_scan_reference

WIDTH = 5
# A neuron of constants, and the constants, which are differentiated too.
NEURONS = {
  "lif": (lambda _: neurons.lif(), {}),
  "if": (
    lambda _: neurons.integrate_and_fire(reset=neurons.soft_reset, strict=True),
    {},
  ),
  "lif of channels": (
    lambda c: neurons.lif(c["leak"], c["threshold"]),
    {"leak": np.linspace(0.2, 0.9, WIDTH), "threshold": np.float64(0.8)},
  ),
  "convex": (lambda _: neurons.convex_lif(), {}),
  "plif": (neurons.plif().build, {"rate_logit": np.linspace(-1, 1, WIDTH)}),
  "adaptive": (lambda _: neurons.adaptive_lif(), {}),
  "hire": (
    neurons.hire().build,
    {"leak": np.float64(0.9), "threshold": np.float64(1.1)},
  ),
  "integrator": (lambda _: neurons.integrator(0.9), {}),
}
SURROGATES = {
  "triangle": surrogates.triangle(),
  "gaussian": surrogates.gaussian(),
}


def interpreted(charge, fire, state, inputs):
  return fused_scan(charge, fire, state, inputs, interpret=True)


def run(form, build, surrogate, constants, state, currents):
  neuron = build(constants)

  def fire(charged, _):
    drive = neuron.drive(charged)
    spikes = surrogates.spike(drive, surrogate, neuron.strict)
    return neuron.reset(charged, spikes), (spikes, drive)

  return form(neuron.integrate, fire, state, currents)


def loss(form, build, surrogate):
  """Of everything that a scan returns, and that."""

  def total(*operands):
    last, (spikes, drive) = run(form, build, surrogate, *operands)
    weights = jnp.cos(jnp.arange(spikes.size, dtype=spikes.dtype))
    ends = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(last))
    smooth = jnp.sum(jnp.sin(drive[:, ::2]))
    return (
      jnp.sum(spikes * weights.reshape(spikes.shape)) + ends + smooth,
      (last, spikes, drive),
    )

  return total


def operands(name, steps, dtype="float32", shape=(3, WIDTH)):
  build, constants = NEURONS[name]
  constants = {key: jnp.asarray(c, dtype) for key, c in constants.items()}
  currents = 2 * jax.random.normal(jax.random.key(1), (steps, *shape))
  currents = currents.astype(dtype)
  state = build(constants).init(currents[0])
  return constants, jax.tree.map(lambda v: v + 0.1, state), currents


# Bounds, as shares of the largest value. A product and a sum may be rounded
# once or twice, and a bfloat16 after every operation or not.
BOUNDS = {"float32": (5e-7, 2e-6), "bfloat16": (2e-2, 3e-2)}


def assert_same(name, surrogate, *arguments, **options):
  """Spikes to the bit, potentials and gradients within bounds."""
  given = operands(name, *arguments, **options)
  build = NEURONS[name][0]
  values, gradients = [], []
  for form in (interpreted, neuron_scan_reference):
    total = loss(form, build, surrogate)
    whole = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
    (_, value), gradient = whole(*given)
    values.append(jax.tree.leaves(value))
    gradients.append(jax.tree.leaves(gradient))
  spikes, plain = values[0][-2], values[1][-2]
  np.testing.assert_array_equal(spikes, plain)
  assert 0 < float(jnp.mean(spikes.astype(float))) < 1
  bounds = BOUNDS[given[2].dtype.name]
  for pair, bound in zip((values, gradients), bounds, strict=True):
    for ours, plain in zip(*pair, strict=True):
      assert (ours.shape, ours.dtype) == (plain.shape, plain.dtype)
      ours, plain = np.asarray(ours, float), np.asarray(plain, float)
      size = np.max(np.abs(plain))
      assert size > 0
      np.testing.assert_allclose(ours, plain, rtol=0, atol=bound * size)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", NEURONS)
def test_equals_the_scan(name, steps, surrogate, monkeypatch):
  # One surrogate in a loop, one with the steps spelled out.
  monkeypatch.setattr(triton, "MOST_SPELLED_OUT", 8 * (surrogate == "gaussian"))
  assert_same(name, SURROGATES[surrogate], steps)


@pytest.mark.parametrize("name", ["lif of channels", "plif", "adaptive"])
def test_half_precision_equals_the_scan(name):
  assert_same(name, SURROGATES["gaussian"], 4, "bfloat16")


@pytest.mark.parametrize("shape", [(3, 2, WIDTH), (11,), (8,)])
def test_blocks_do_not_have_to_fit(shape, monkeypatch):
  """Blocks of 4: 10 features in three, 11 neurons without features, 8."""
  monkeypatch.setattr(triton, "MOST_NEURONS", 4)
  monkeypatch.setattr(triton, "MOST_SPELLED_OUT", 0)
  name = "adaptive" if len(shape) == 1 else "lif of channels"
  assert_same(name, SURROGATES["triangle"], 3, shape=shape)


def spikes_of(build, surrogate):
  def spikes(*operands):
    return run(fused_scan, build, surrogate, *operands)[1][0]

  return spikes


@pytest.mark.parametrize(("name", "kept"), [("lif", 1), ("adaptive", 2)])
def test_forward_keeps_what_is_charged(name, kept):
  given = operands(name, 40)
  spikes = spikes_of(NEURONS[name][0], SURROGATES["triangle"])
  _, pull = jax.vjp(lambda x: spikes(*given[:2], x), given[2])
  sizes = [leaf.size for leaf in jax.tree.leaves(pull)]
  assert sum(size >= given[2].size for size in sizes) == kept


def lowered(function, *operands, platform="cuda"):
  """The text of a program for a platform that need not be there."""
  if jax.__version_info__ >= (0, 11):
    pytest.skip("this version of JAX lowers Triton for devices that it sees")
  traced = jax.jit(function).trace(*operands)
  return traced.lower(lowering_platforms=(platform,)).as_text()


def kernels_in(text):
  return [line for line in text.splitlines() if "xla.gpu.triton" in line]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("surrogate", [surrogates.sigmoid(), surrogates.atan()])
@pytest.mark.parametrize("name", ["plif", "adaptive", "hire"])
def test_lowers_for_cuda_as_two_kernels(name, surrogate, dtype):
  given = operands(name, 9, dtype)
  total = loss(fused_scan, NEURONS[name][0], surrogate)
  gradient = jax.grad(total, (0, 1, 2), has_aux=True)
  assert len(kernels_in(lowered(gradient, *given))) == 2
  assert not kernels_in(lowered(gradient, *given, platform="tpu"))


def test_kernels_read_and_write_no_more_than_they_must():
  """Per neuron and step: read 1 and write 2, then read 2 and write 1."""
  given = operands("lif", 4)
  spikes = spikes_of(NEURONS["lif"][0], SURROGATES["triangle"])

  def gradient(currents):
    values, pull = jax.vjp(lambda x: spikes(*given[:2], x), currents)
    return pull(jnp.cos(values))[0]

  arrays = [
    [side.count("tensor<3x4x5xf32>") for side in line.split(") -> ")]
    for line in kernels_in(lowered(gradient, given[2]))
  ]
  assert arrays == [[1, 2], [2, 1]]


def lateral(neuron):
  """Neighbours inhibit each other."""
  return neuron._replace(
    integrate=lambda v, current: 0.5 * v + current - 0.1 * jnp.roll(v, 1, -1)
  )


def normalised(neuron):
  return neuron._replace(
    integrate=lambda v, current: 0.5 * v + current - jnp.mean(current)
  )


def recurrent(neuron):
  return neuron._replace(
    integrate=lambda v, current: 0.5 * v @ jnp.eye(WIDTH) + current
  )


def counting(neuron):
  return neuron._replace(
    init=lambda current: (jnp.zeros(current.shape, int), current),
    integrate=lambda s, current: (s[0] + 1, s[1] + current),
    drive=lambda s: s[1],
    reset=lambda s, spikes: s,
  )


def transposed(neuron):
  return neuron._replace(
    integrate=lambda v, current: jnp.transpose(v + current)
  )


@jax.custom_jvp
def step(drive):
  return (drive > 0).astype(drive.dtype)


step.defjvps(lambda tangent, ans, drive: tangent)


def with_custom_jvp(neuron):
  return neuron._replace(integrate=lambda v, current: v + step(current))


@pytest.mark.parametrize(
  ("change", "match"),
  [
    (lateral, "'concatenate'|'slice'"),
    (normalised, "'reduce_sum'"),
    (recurrent, "'dot_general'"),
    (counting, "floating numbers; got int"),
    (transposed, "'transpose'"),
    (with_custom_jvp, "step at .* has a derivative of its own"),
  ],
)
def test_neurons_that_are_not_elementwise_are_refused(change, match):
  neuron = change(neurons.lif())
  currents = jnp.ones((2, WIDTH, WIDTH))
  with pytest.raises(ValueError, match=match) as told:
    run(
      fused_scan,
      lambda _: neuron,
      SURROGATES["triangle"],
      {},
      neuron.init(currents[0]),
      currents,
    )
  assert "kernel='scan'" in str(told.value)


def gpu(platform, capability, kind="A GPU"):
  return types.SimpleNamespace(
    platform=platform, compute_capability=capability, device_kind=kind
  )


@pytest.mark.parametrize(
  ("device", "told"),
  [
    (gpu("gpu", "7.5", "Tesla T4"), r"Tesla T4 \(compute capability 7.5\)"),
    (gpu("gpu", "gfx942", "MI300X"), r"MI300X \(gpu\)"),
    (types.SimpleNamespace(platform="tpu", device_kind="v5e"), r"v5e \(tpu\)"),
    (None, r"cpu \(cpu\): take 'scan' or 'auto'"),
  ],
)
def test_the_choice_is_refused_where_it_cannot_run(device, told, monkeypatch):
  if device:
    monkeypatch.setattr(jax, "devices", lambda: [device])
  assert scan.form_of("auto") == scan.form_of("scan") == "scan"
  with pytest.raises(ValueError, match=f"needs a CUDA GPU of .*8.0.*{told}"):
    scan.form_of("fused")


@pytest.mark.parametrize("capability", ["8.0", "9.0", "12.0"])
def test_the_choice_runs_on_newer_gpus(capability, monkeypatch):
  monkeypatch.setattr(jax, "devices", lambda: [gpu("gpu", capability)])
  assert scan.form_of("fused") == "fused"
  assert scan.form_of("auto") == "scan"


NETWORK = models.mlp(
  (6,),
  encoder=encoders.direct(3),
  neuron=neurons.plif(per_channel=True),
  classes=3,
  readout=readouts.membrane(),
)
INPUTS = jax.random.uniform(jax.random.key(3), (4, 7))


def weights():
  """Heavy enough for every layer to fire."""
  variables = NETWORK.init(jax.random.key(0), INPUTS)
  return jax.tree.map(lambda leaf: 4 * leaf, variables)


def test_a_choice_is_checked_by_name_and_where_it_is_applied():
  for make in (neurons.with_kernel, models.with_kernel):
    owner = neurons.lif() if make is neurons.with_kernel else NETWORK
    with pytest.raises(ValueError, match="auto, fused, scan; got 'triton'"):
      make(owner, "triton")
  other = NETWORK._replace(apply=lambda variables, inputs, *, rule: None)
  with pytest.raises(ValueError, match="an apply that takes kernel="):
    models.with_kernel(other, "scan")
  for network in (
    models.with_kernel(NETWORK, "fused"),
    models.mlp(
      (6,),
      encoder=encoders.direct(3),
      neuron=neurons.with_kernel(neurons.plif(per_channel=True), "fused"),
      classes=3,
      readout=readouts.membrane(),
    ),
  ):
    variables = weights()
    rule = backward.Bptt(surrogates.atan())
    with pytest.raises(ValueError, match="kernel 'fused' needs a CUDA GPU"):
      network.apply(variables, INPUTS, rule=rule)


def penalty(network, rule):
  """A gradient penalty: an input gradient under the weights' gradient."""
  variables = weights()

  def loss(params, inputs):
    used = {**variables, "params": params}
    return jnp.sum(jnp.square(network.apply(used, inputs, rule=rule).logits))

  def total(params, inputs):
    slope = jax.grad(loss, 1)(params, inputs)
    return loss(params, inputs) + jnp.sum(jnp.square(slope))

  return total, variables["params"]


def test_a_network_is_the_same(monkeypatch):
  """Trained constants, surrogates of each step, and a gradient penalty."""
  monkeypatch.setattr(devices, "check_device", lambda: None)
  results = []
  for kernel in ("fused", "scan"):
    network = models.with_kernel(NETWORK, kernel)
    total, params = penalty(network, pdsg.Pdsg())
    program = jax.value_and_grad(total)
    text = str(jax.make_jaxpr(program)(params, INPUTS))
    assert ("snnjax_neurons" in text) == (kernel == "fused")
    results.append(jax.jit(program)(params, INPUTS))
  assert abs(float(results[1][0])) > 1e-3
  for ours, plain in zip(*map(jax.tree.leaves, results), strict=True):
    size = float(jnp.max(jnp.abs(plain)))
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5 * size)


def test_a_layer_is_lowered_as_two_kernels(monkeypatch):
  monkeypatch.setattr(devices, "check_device", lambda: None)
  rule = backward.Bptt(surrogates.atan())
  network = models.with_kernel(NETWORK, "fused")
  variables = weights()

  def total(params):
    used = {**variables, "params": params}
    return jnp.sum(network.apply(used, INPUTS, rule=rule).logits ** 2)

  text = lowered(jax.grad(total), variables["params"])
  assert len(kernels_in(text)) == 2


def test_a_replaced_derivative_of_a_users_neuron_is_kept():
  """A neuron of one's own, with two states and two inputs, straight through."""

  def charge(state, now):
    return state[0] * 0.5 + now["a"], state[1] + now["b"] * state[0]

  def fire(charged, now):
    value, other = charged
    out = replace_derivative(jnp.sign(value), jnp.cos(other), value * now["b"])
    return (value - out, 0.9 * other), {"out": out}

  def total(form):
    def run(state, inputs):
      last, outputs = form(charge, fire, state, inputs)
      return jnp.sum(jnp.sin(outputs["out"])) + jnp.sum(last[0] * last[1])

    return jax.jit(jax.value_and_grad(run, (0, 1)))

  keys = jax.random.split(jax.random.key(5), 3)
  state = (jax.random.normal(keys[0], (4,)), jnp.zeros(4))
  # One input is the same for all neurons.
  inputs = {
    "a": jax.random.normal(keys[1], (3, 4)),
    "b": jax.random.normal(keys[2], (3, 1)),
  }
  results = [
    jax.tree.leaves(total(form)(state, inputs))
    for form in (interpreted, neuron_scan_reference)
  ]
  for ours, plain in zip(*results, strict=True):
    assert ours.shape == plain.shape
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
