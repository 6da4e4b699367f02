import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from snnjax import backward, encoders, models, neurons, readouts, surrogates
from snnjax.models import layers
from snnjax.models.layers import BatchNorm, over_time

RULE = backward.Bptt(surrogates.triangle())
LIF = neurons.lif()
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.uniform(size=(4, 8, 8, 1)), jnp.float32)
EVENTS = jnp.asarray(RNG.uniform(size=(4, 3, 10, 10, 2)), jnp.float32)


def two_branches(**options):
  return models.fusion(
    {"image": encoders.direct(3), "events": encoders.frames(3)},
    {"image": (4,), "events": (6,)},
    neuron=LIF,
    hidden=(8,),
    **options,
  )


def test_a_branch_standardises_its_own_modality():
  inputs = {"image": IMAGES, "events": EVENTS}
  key = jax.random.key(0)
  plain = two_branches()
  scaled = two_branches(standardize={"image": ((0.5,), (0.25,))})
  variables = plain.init(key, inputs)
  shifted = inputs | {"image": (IMAGES - 0.5) / 0.25}
  np.testing.assert_allclose(
    scaled.apply(variables, inputs, rule=RULE).outputs,
    plain.apply(variables, shifted, rule=RULE).outputs,
    atol=1e-6,
  )
  with pytest.raises(ValueError, match="standardize must name modalities"):
    two_branches(standardize={"audio": ((0.0,), (1.0,))})


def test_merge_is_batch_major():
  seen = []

  def layer(merged):
    seen.append(merged)
    return merged * 2

  sequence = jnp.arange(24.0).reshape(3, 2, 4)  # [S, B, F]
  result = over_time(layer, sequence)
  np.testing.assert_array_equal(result, sequence * 2)
  # Row 1 of the merged batch is the first example's second step.
  np.testing.assert_array_equal(seen[0][1], sequence[1, 0])


def test_constant_sequences_compute_their_first_layer_once():
  network = models.cnn((4,), neuron=LIF, encoder=encoders.direct(5))
  variables = network.init(jax.random.key(0), IMAGES)
  text = str(
    jax.make_jaxpr(lambda x: network.apply(variables, x, rule=RULE).logits)(
      IMAGES
    )
  )
  assert "f32[4,8,8,1]" in text
  assert "f32[20,8,8,1]" not in text


def test_two_branches_take_a_mapping():
  network = two_branches()
  inputs = {"image": IMAGES, "events": EVENTS}
  variables = network.init(jax.random.key(0), inputs)
  forward = network.apply(variables, inputs, rule=RULE)
  assert forward.logits.shape == (4, 10)
  assert forward.outputs.shape == (3, 4, 10)
  assert set(forward.traces) == {
    "image/spike1",
    "events/spike1",
    "trunk/dense_spike1",
  }
  assert forward.traces["events/spike1"].spikes.shape == (3, 4, 10, 10, 6)


@pytest.mark.parametrize("modality", ["image", "events"])
def test_both_branches_reach_the_logits(modality):
  network = two_branches()
  inputs = {"image": IMAGES, "events": EVENTS}
  variables = network.init(jax.random.key(1), inputs)
  gradient = jax.grad(
    lambda x: jnp.sum(network.apply(variables, x, rule=RULE).logits[:, 0])
  )(inputs)
  assert float(jnp.abs(gradient[modality]).max()) > 0


def test_mean_before_the_output_layer_is_the_mean_of_outputs():
  network = models.mlp((8,), neuron=LIF, encoder=encoders.direct(6))
  variables = network.init(jax.random.key(0), IMAGES)
  forward = network.apply(variables, IMAGES, rule=RULE)
  np.testing.assert_allclose(
    forward.logits, forward.outputs.mean(0), rtol=1e-5, atol=1e-6
  )


def test_batch_norm_runs_over_time_batch_and_space():
  network = models.cnn(
    (4,), neuron=LIF, encoder=encoders.poisson(5), norm=BatchNorm
  )
  variables = network.init(jax.random.key(0), IMAGES)
  forward = network.apply(
    variables, IMAGES, rule=RULE, key=jax.random.key(1), train=True
  )
  old = variables["batch_stats"]["body"]["norm1"]["norm"]
  new = forward.batch_stats["body"]["norm1"]["norm"]
  assert not np.allclose(old["mean"], new["mean"])
  frozen = network.apply(variables, IMAGES, rule=RULE, key=jax.random.key(1))
  np.testing.assert_array_equal(
    frozen.batch_stats["body"]["norm1"]["norm"]["mean"], old["mean"]
  )

  # The statistics once more: the same draw, convolved, over all axes but one.
  spikes = encoders.poisson(5).encode(
    jax.random.fold_in(jax.random.key(1), 0), IMAGES
  )
  kernel = variables["params"]["body"]["conv1"]["kernel"]
  currents = jax.lax.conv_general_dilated(
    spikes.reshape(20, 8, 8, 1),
    kernel,
    (1, 1),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  np.testing.assert_allclose(
    new["mean"], 0.1 * currents.mean((0, 1, 2)), rtol=1e-4, atol=1e-6
  )


def test_threshold_dependent_norm_scales_by_alpha_theta():
  layer = BatchNorm(scale=0.5)
  context = layers.Context(RULE, 3, True, None, {})
  sequence = jnp.asarray(RNG.normal(3, 2, size=(3, 4, 6, 6, 2)), jnp.float32)
  variables = layer.init(jax.random.key(0), sequence, context)
  (result, _), _ = layer.apply(
    variables, sequence, context, mutable=["batch_stats"]
  )
  np.testing.assert_allclose(result.std((0, 1, 2, 3)), 0.5, rtol=1e-3)
  np.testing.assert_allclose(result.mean((0, 1, 2, 3)), 0, atol=1e-5)


def test_dropout_holds_its_mask_over_time_and_scales():
  layer = layers.Dropout(0.5)
  sequence = jnp.ones((3, 4, 50))
  train = layers.Context(RULE, 3, True, jax.random.key(0), {})
  result, _ = layer.apply({}, sequence, train)
  np.testing.assert_array_equal(result[0], result[2])
  assert set(np.unique(result)) == {0.0, 2.0}
  frozen, _ = layer.apply({}, sequence, train._replace(train=False))
  np.testing.assert_array_equal(frozen, sequence)
  with pytest.raises(ValueError, match="key is needed by dropout"):
    layer.apply({}, sequence, train._replace(key=None))


@pytest.mark.parametrize(
  ("style", "layout", "convolutions"),
  [
    (models.sr_style(), "vgg5", 3),
    (models.sr_style(), "vgg11", 8),
    (models.hire_style(), "vgg11", 8),
    (models.hire_style(), "vgg16", 13),
  ],
)
def test_vgg_layouts(style, layout, convolutions):
  network = models.vgg(
    layout,
    neuron=LIF,
    encoder=encoders.direct(2),
    style=style,
    hidden=(16, 16),
  )
  images = jnp.zeros((1, 32, 32, 3))
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)
  body = shapes["params"]["body"]
  kernels = [name for name in body if name.startswith("conv")]
  assert len(kernels) == convolutions
  assert ("bias" in body["conv1"]) == style.use_bias
  assert bool(shapes["batch_stats"]) == (style.norm is not None)


def test_vgg_of_unknown_layout():
  with pytest.raises(ValueError, match=r"layout must be one of.*'vgg7'"):
    models.vgg("vgg7", neuron=LIF, encoder=encoders.direct(2))


def test_standardize_keeps_radii_in_raw_units():
  plain = models.cnn((4,), neuron=LIF, encoder=encoders.direct(2))
  scaled = models.cnn(
    (4,),
    neuron=LIF,
    encoder=encoders.direct(2),
    standardize=((0.4,), (0.25,)),
  )
  variables = plain.init(jax.random.key(0), IMAGES)
  want = plain.apply(variables, (IMAGES - 0.4) / 0.25, rule=RULE).logits
  got = scaled.apply(variables, IMAGES, rule=RULE).logits
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_sharded_is_single_device():
  network = models.cnn((4,), neuron=LIF, encoder=encoders.poisson(3))
  variables = network.init(jax.random.key(0), IMAGES)
  mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
  sharded = jax.device_put(IMAGES, NamedSharding(mesh, PartitionSpec("data")))

  @jax.jit
  def run(inputs):
    def total(x):
      forward = network.apply(variables, x, rule=RULE, key=jax.random.key(5))
      return jnp.sum(forward.logits[:, 0]), forward.logits

    return jax.grad(total, has_aux=True)(inputs)

  single, parallel = run(IMAGES), run(sharded)
  for one, two in zip(single, parallel, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
  text = run.lower(sharded).compile().as_text()
  assert "all-gather" not in text


INPUT_ERRORS = {
  "mapping_for_one": ({"image": IMAGES}, r"inputs must be one array"),
  "no_batch": (jnp.zeros(()), r"leading batch axis"),
}


@pytest.mark.parametrize("case", INPUT_ERRORS)
def test_inputs_that_do_not_fit(case):
  inputs, message = INPUT_ERRORS[case]
  network = models.mlp((4,), neuron=LIF, encoder=encoders.direct(2))
  variables = network.init(jax.random.key(0), IMAGES)
  with pytest.raises(ValueError, match=message):
    network.apply(variables, inputs, rule=RULE)


@pytest.mark.parametrize("inputs", [{"image": IMAGES}, IMAGES])
def test_missing_modalities_are_named(inputs):
  network = two_branches()
  with pytest.raises(ValueError, match=r"modalities \['events', 'image'\]"):
    network.init(jax.random.key(0), inputs)


@pytest.mark.parametrize("window", [(0, 0), (2, 1), (0, 4), (-1, 2)])
def test_windows_outside_the_steps(window):
  network = models.mlp((4,), neuron=LIF, encoder=encoders.direct(3))
  variables = network.init(jax.random.key(0), IMAGES)
  with pytest.raises(ValueError, match="window must be a half-open pair"):
    network.apply(variables, IMAGES, rule=RULE, window=window)


def test_builders_check_their_arguments():
  with pytest.raises(ValueError, match="must have encoders with one number"):
    models.fusion(
      {"image": encoders.direct(3), "events": encoders.frames(4)},
      {"image": (4,), "events": (4,)},
      neuron=LIF,
    )
  with pytest.raises(ValueError, match="must name the same modalities"):
    models.fusion({"image": encoders.direct(3)}, {"events": (4,)}, neuron=LIF)
  with pytest.raises(ValueError, match="classes must be a whole number"):
    models.mlp((4,), neuron=LIF, encoder=encoders.direct(3), classes=1)
  with pytest.raises(ValueError, match="hidden must be a whole number"):
    models.mlp((0,), neuron=LIF, encoder=encoders.direct(3))
  with pytest.raises(ValueError, match=r"leak must lie in \[0, 1\]"):
    readouts.membrane(1.5)


def test_the_slope_of_a_shared_constant_is_the_sum_over_channels():
  drawn = np.random.default_rng(3).normal(0.6, 0.8, (5, 4, 3, 7))
  currents = jnp.asarray(drawn, jnp.float32)
  context = layers.Context(RULE, 5, False, None, {})

  def slope(neuron):
    layer = layers.Spiking(neuron)
    weights = jnp.cos(jnp.arange(currents.size)).reshape(currents.shape)

    def total(variables):
      return jnp.sum(weights * layer.apply(variables, currents, context)[0])

    variables = layer.init(jax.random.key(0), currents, context)
    return jax.grad(total)(variables)["params"]["rate_logit"]

  each = slope(neurons.plif(0.4, 0.5, per_channel=True))
  shared = slope(neurons.plif(0.4, 0.5))
  assert each.shape == (7,)
  assert len(set(each.tolist())) == 7
  np.testing.assert_allclose(each.sum(), shared, rtol=1e-4)
