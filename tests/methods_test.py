"""Laws of every training method, and what is particular to each."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import (
  attacks,
  backward,
  encoders,
  methods,
  models,
  neurons,
  regularizers,
  sharding,
  surrogates,
  training,
)
from snnjax.interfaces import AttackResult, Batch
from snnjax.methods.method import masked_mean
from snnjax.methods.standard import logits_cross_entropy
from snnjax.storage import array_files, checkpoints

STEPS = 4
RULE = backward.Bptt(surrogates.triangle())
NETWORK = models.mlp(
  (16,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.direct(STEPS)
)
RNG = np.random.default_rng(0)
BATCH = Batch(
  jnp.asarray(RNG.uniform(size=(6, 5, 5, 1)), jnp.float32),
  jnp.asarray(RNG.integers(0, 10, 6), jnp.int32),
  jnp.array([True] * 5 + [False]),
)
PGD = functools.partial(
  attacks.pgd, threat=attacks.linf(0.1), step_size=0.05, steps=3
)
VANILLA = methods.vanilla(NETWORK, rule=RULE)
HIRE = functools.partial(
  methods.hire,
  NETWORK,
  rule=RULE,
  steps=STEPS,
  step_size=0.05,
  radius=0.08,
)
METHODS = {
  "vanilla": VANILLA,
  "fgsm": methods.adversarial(
    VANILLA,
    NETWORK,
    functools.partial(attacks.fgsm, threat=attacks.linf(0.1)),
    rule=RULE,
  ),
  "pgd": methods.adversarial(VANILLA, NETWORK, PGD, rule=RULE),
  "sr": methods.sr(NETWORK, rule=RULE, weight=0.1),
  "sr_jvp": methods.sr(
    NETWORK, rule=RULE, weight=0.1, estimator=regularizers.jvp
  ),
  "sr_participation": methods.sr(
    NETWORK, rule=RULE, weight=0.1, participation=-0.5
  ),
  "sr_star": methods.adversarial(
    methods.sr(NETWORK, rule=RULE, weight=0.1), NETWORK, PGD, rule=RULE
  ),
  "hire": HIRE(periods=2),
  "hire_off": HIRE(periods=2, noise=methods.no_noise),
  "hire_random": HIRE(periods=2, noise=methods.scattered),
  "hire_kept": HIRE(periods=2, keep_noise=True, keep_membranes=False),
}
TX = optax.sgd(0.1)


def begin(method, key=0, batch=BATCH):
  return training.init_state(jax.random.key(key), NETWORK, method, TX, batch)


@functools.cache
def step_of(name):
  return jax.jit(training.make_train_step(METHODS[name], TX))


def weights(state):
  return np.concatenate([np.ravel(w) for w in jax.tree.leaves(state.params)])


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_finite_deterministic_and_moves_the_weights(name):
  state = begin(METHODS[name])
  first, metrics = step_of(name)(state, BATCH)
  again, _ = step_of(name)(begin(METHODS[name]), BATCH)
  assert all(np.isfinite(value) for value in metrics.values()), metrics
  assert {"loss", "accuracy", "gradient_norm"} <= set(metrics)
  np.testing.assert_array_equal(weights(first), weights(again))
  assert not np.array_equal(weights(first), weights(state))
  assert int(first.step) == 1


@pytest.mark.parametrize("name", ["vanilla", "sr", "hire"])
def test_padding_changes_nothing(name):
  """What stands in a masked row has no influence on the step."""
  other = BATCH._replace(
    inputs=BATCH.inputs.at[5].set(0.3), labels=BATCH.labels.at[5].set(9)
  )
  one, _ = step_of(name)(begin(METHODS[name]), BATCH)
  two, _ = step_of(name)(begin(METHODS[name]), other)
  np.testing.assert_allclose(weights(one), weights(two), atol=1e-7)


def test_many_steps_learn_the_batch():
  step, state = step_of("vanilla"), begin(VANILLA)
  losses = []
  for _ in range(60):
    state, metrics = step(state, BATCH)
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.5 * losses[0]


def many(seeds):
  keys = jax.random.split(jax.random.key(3), seeds)
  return jax.vmap(
    lambda key: training.init_state(key, NETWORK, VANILLA, TX, BATCH)
  )(keys)


def row(tree, index):
  return jax.tree.map(lambda leaf: leaf[index], tree)


def test_steps_vmap_over_seeds():
  step = training.make_train_step(VANILLA, TX)
  states = many(2)
  together, _ = jax.jit(jax.vmap(step, (0, None)))(states, BATCH)
  for index in range(2):
    alone, _ = jax.jit(step)(row(states, index), BATCH)
    np.testing.assert_allclose(
      weights(alone), weights(row(together, index)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("seeds", [1, 3, 9])
def test_over_seeds_is_every_seeds_own_step(seeds):
  step = training.make_train_step(VANILLA, TX)
  states, metrics = jax.jit(training.over_seeds(step))(many(seeds), BATCH)
  states, more = jax.jit(training.over_seeds(step))(states, BATCH)
  assert states.step.tolist() == [2] * seeds
  for index in range(seeds):
    alone, first = jax.jit(step)(row(many(seeds), index), BATCH)
    alone, second = jax.jit(step)(alone, BATCH)
    np.testing.assert_array_equal(weights(alone), weights(row(states, index)))
    assert first == row(metrics, index)
    assert second == row(more, index)


def test_devices_train_seeds_of_their_own():
  step = training.make_train_step(VANILLA, TX)
  mesh = sharding.over_devices(jax.devices()[:2])
  over = jax.jit(training.over_seeds(step, mesh))
  states = sharding.put(many(4), sharding.rows(mesh))
  batch = sharding.put(BATCH, sharding.whole(mesh))
  program = over.lower(states, batch).compile()
  text = program.as_text()
  assert not re.search(r"all-|collective-|reduce-scatter", text)
  got, metrics = program(states, batch)
  want, wanted = jax.jit(training.over_seeds(step))(many(4), BATCH)
  np.testing.assert_array_equal(weights(got), weights(want))
  assert jax.tree.map(np.ndarray.tolist, jax.device_get(metrics)) == (
    jax.tree.map(np.ndarray.tolist, jax.device_get(wanted))
  )
  with pytest.raises(ValueError, match=r"multiple of the mesh's 2 .* 3 seeds"):
    over(many(3), BATCH)


def test_over_seeds_maps_on_an_accelerator():
  step = training.make_train_step(VANILLA, TX)
  traced = jax.jit(training.over_seeds(step)).trace(many(3), BATCH)
  on = {
    platform: traced.lower(lowering_platforms=(platform,)).as_text()
    for platform in ("cpu", "cuda", "tpu")
  }
  assert "inlineable" in on["cpu"]
  assert "inlineable" not in on["cuda"] + on["tpu"]
  assert "3x25x16" in on["cuda"]  # the stacked weights, never taken apart


def test_adversarial_training_sees_adversarial_inputs():
  """FGSM training's loss is vanilla's at the attack's own examples."""
  _, adversarial = step_of("fgsm")(begin(VANILLA), BATCH)
  _, clean = step_of("vanilla")(begin(VANILLA), BATCH)
  assert float(adversarial["loss"]) > float(clean["loss"])


def test_any_method_is_trained_on_adversarial_inputs():
  """HIRE on what an attack returns, at the weights of each of its updates."""
  seen = []

  def craft(logits_fn):
    def attack(key, inputs, labels):
      moved = 0.9 * inputs + 0.05
      seen.append(logits_fn(key, moved))
      return AttackResult(moved, seen[-1][:, 0], labels == 0, labels)

    return attack

  star = methods.adversarial(METHODS["hire"], NETWORK, craft, rule=RULE)
  state, metrics = jax.jit(training.make_train_step(star, TX))(
    begin(star), BATCH
  )
  moved = BATCH._replace(inputs=0.9 * BATCH.inputs + 0.05)
  plain, want = step_of("hire")(begin(METHODS["hire"]), moved)
  assert len(seen) == 2
  np.testing.assert_allclose(weights(state), weights(plain), rtol=1e-6)
  assert set(metrics) == set(want)
  for name in want:
    np.testing.assert_allclose(metrics[name], want[name], rtol=1e-6)


def test_one_compiled_step_anneals_a_weight():
  anneal, traces = optax.linear_schedule(0.0, 0.4, 4), []

  def objective(variables, key, batch, step):
    traces.append(step)
    loss, aux = VANILLA(variables, key, batch, step)
    decay = anneal(step) * optax.tree.norm(variables["params"], squared=True)
    return loss + decay / 2, aux._replace(metrics={"weight": anneal(step)})

  step = jax.jit(training.make_train_step(objective, TX))
  slope = jax.jit(
    jax.grad(lambda v: VANILLA(v, jax.random.key(0), BATCH, 0)[0])
  )
  state, used = begin(objective), []
  counts = set()
  for weight in (0.0, 0.1, 0.2, 0.3, 0.4, 0.4):
    before = state
    state, metrics = step(state, BATCH)
    counts.add(len(traces))
    used.append(float(metrics["weight"]))
    want = jax.tree.map(
      lambda p, g, w=weight: p - 0.1 * (g + w * p),
      before.params,
      slope(before.variables)["params"],
    )
    np.testing.assert_allclose(
      weights(state), weights(before._replace(params=want)), atol=1e-6
    )
  np.testing.assert_allclose(used, [0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-7)
  assert len(counts) == 1  # traced in the first step, and never again
  with pytest.raises(ValueError, match=r"\(variables, key, batch, step\); got"):
    training.make_train_step(lambda variables, key, batch: None, TX)


def test_constants_of_every_channel_are_trained_and_come_back(tmp_path):
  """PLIF with a time constant per channel, and one per step of one's own."""
  neuron = neurons.plif(0.4, 0.5, per_channel=True)
  network = models.cnn(
    (3, 5), neuron=neuron, encoder=encoders.direct(STEPS), hidden=(6,)
  )
  method = methods.vanilla(network, rule=RULE)
  state = training.init_state(jax.random.key(0), network, method, TX, BATCH)
  first = rates(state)
  assert [rate.shape for rate in first] == [(6,), (3,), (5,)]
  assert all(np.all(rate == np.float32(np.log(1.5))) for rate in first)
  step = jax.jit(training.make_train_step(method, TX))
  for _ in range(3):
    state, _ = step(state, BATCH)
  moved = np.concatenate(rates(state)) - np.concatenate(first)
  assert np.count_nonzero(moved) > 10
  assert len(set(moved.tolist())) > 10

  array_files.export(state.variables, tmp_path / "weights.npz")
  fresh = training.init_state(jax.random.key(1), network, method, TX, BATCH)
  variables = array_files.restore(tmp_path / "weights.npz", fresh.variables)
  checkpoints.save(3, state, tmp_path / "checkpoints")
  again = checkpoints.restore(tmp_path / "checkpoints", fresh).tree
  for kept in (variables["params"], again.params):
    np.testing.assert_array_equal(
      weights(state), weights(state._replace(params=kept))
    )
  one, _ = step(state, BATCH)
  two, _ = step(again, BATCH)
  np.testing.assert_array_equal(weights(one), weights(two))


def rates(state):
  body = state.params["body"]
  return [body[name]["rate_logit"] for name in sorted(body) if "spike" in name]


def test_a_constant_per_step_is_trained():
  """p_t of a dynamic leak: the state counts the steps."""

  def build(constants):
    return neurons.Neuron(
      init=lambda current: (jnp.zeros_like(current), jnp.zeros((), int)),
      integrate=lambda s, current: (
        jax.nn.sigmoid(constants["p"][s[1]]) * s[0] + current,
        s[1] + 1,
      ),
      drive=lambda s: s[0] - 0.5,
      reset=lambda s, spikes: ((1 - spikes) * s[0], s[1]),
    )

  neuron = neurons.Trainable({"p": np.linspace(-1, 1, STEPS)}, build)
  network = models.mlp((16,), neuron=neuron, encoder=encoders.direct(STEPS))
  method = methods.vanilla(network, rule=RULE)
  before = training.init_state(jax.random.key(0), network, method, TX, BATCH)
  after, _ = jax.jit(training.make_train_step(method, TX))(before, BATCH)
  first, second = (
    s.params["body"]["dense_spike1"]["p"] for s in (before, after)
  )
  moved = np.asarray(second - first)
  # At the first step there is no potential to leak.
  assert moved[0] == 0
  assert np.all(moved[1:] != 0)


def test_sr_is_cross_entropy_plus_weighted_penalty():
  _, metrics = step_of("sr")(begin(METHODS["sr"]), BATCH)
  np.testing.assert_allclose(
    metrics["loss"],
    metrics["cross_entropy"] + 0.1 * metrics["penalty"],
    rtol=1e-6,
  )
  assert float(metrics["penalty"]) > 0
  with pytest.raises(ValueError, match=r"weight must lie in \[0, inf\]"):
    methods.sr(NETWORK, rule=RULE, weight=-1.0)


def test_a_weight_of_the_participation_ratio_moves_it_either_way():
  traces = []

  @jax.jit
  def step(weight, state):
    traces.append(weight)
    method = methods.sr(NETWORK, rule=RULE, weight=0, participation=weight)
    return training.make_train_step(method, TX)(state, BATCH)

  reached = {}
  for weight in (-1.0, 0.0, 1.0):
    state = begin(METHODS["sr_participation"])
    for _ in range(40):
      state, metrics = step(weight, state)
    reached[weight] = float(metrics["participation"])
    np.testing.assert_allclose(
      metrics["loss"],
      metrics["cross_entropy"] + weight * metrics["participation"],
      rtol=1e-5,
    )
  assert len(traces) == 1
  assert reached[1.0] < reached[0.0] - 0.05
  assert reached[-1.0] > reached[0.0] + 0.05
  # Absent it is not weighted by 0: it is not there.
  for term, estimates in ((None, 0), (1.0, 1)):
    calls = []

    def counted(line, calls=calls):
      calls.append(line)
      return regularizers.jvp(line)

    method = methods.sr(
      NETWORK, rule=RULE, participation=term, participation_estimator=counted
    )
    jax.eval_shape(training.make_train_step(method, TX), state, BATCH)
    assert len(calls) == estimates
  with pytest.raises(ValueError, match="participation must be a number"):
    methods.sr(NETWORK, rule=RULE, participation="1")


def test_the_participation_ratio_of_zero_gradients_pulls_at_nothing():
  state = begin(METHODS["sr_participation"])
  silent = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
  moved, metrics = step_of("sr_participation")(silent, BATCH)
  plain, _ = step_of("vanilla")(silent, BATCH)
  assert metrics["participation"] == 0
  np.testing.assert_array_equal(weights(moved), weights(plain))


def test_hire_of_one_period_is_vanilla():
  method = HIRE(periods=1)
  one, _ = jax.jit(training.make_train_step(method, TX))(begin(method), BATCH)
  two, _ = step_of("vanilla")(begin(VANILLA), BATCH)
  np.testing.assert_allclose(weights(one), weights(two), rtol=1e-5, atol=1e-7)


WALLS = BATCH._replace(  # black and white pixels, as digits have
  inputs=jnp.round(BATCH.inputs * 3) / 3
)


def shown_by_hand(inputs, delta):
  """clip(x + delta), whose gradient is that at the shown input."""
  shown = jnp.clip(inputs + delta, 0, 1)
  return delta + jax.lax.stop_gradient(shown - delta)


def test_hire_by_hand():
  """Each period shows what followed the signs, from the last one's state."""
  method = HIRE(periods=4, keep_noise=True)
  step = jax.jit(training.make_train_step(method, TX))
  state = begin(method, batch=WALLS)
  params, delta = state.params, jnp.zeros_like(WALLS.inputs)
  got, _ = step(state, WALLS)

  def period(params, delta, states, window):
    forward = NETWORK.apply(
      {"params": params},
      shown_by_hand(WALLS.inputs, delta),
      rule=RULE,
      states=states,
      window=window,
    )
    loss = masked_mean(logits_cross_entropy(forward, WALLS.labels), WALLS.mask)
    return loss, forward.states

  states, came_back = None, 0
  for start in range(4):
    (_, states), (grad, signal) = jax.jit(
      jax.value_and_grad(period, argnums=(0, 1), has_aux=True),
      static_argnums=3,
    )(params, delta, states, (start, start + 1))
    params = jax.tree.map(lambda w, g: w - 0.1 * g, params, grad)
    before = delta
    delta = jnp.clip(delta + 0.05 * jnp.sign(signal), -0.08, 0.08)
    outside = (WALLS.inputs + before < 0) | (WALLS.inputs + before > 1)
    came_back += int(jnp.sum(outside & (jnp.abs(delta) < jnp.abs(before))))
  assert came_back > 0
  np.testing.assert_allclose(
    weights(got),
    np.concatenate([np.ravel(w) for w in jax.tree.leaves(params)]),
    rtol=1e-4,
    atol=1e-6,
  )
  np.testing.assert_allclose(got.carried, delta, atol=1e-6)


def test_a_black_pixel_below_its_wall_has_a_gradient():
  """Through the clip it was 0, and the pixel never moved again."""
  method = METHODS["hire"]
  variables = NETWORK.init(jax.random.key(0), BATCH.inputs)
  dark = BATCH._replace(inputs=jnp.zeros_like(BATCH.inputs))

  def total(delta):
    stage = methods.Stage(delta, {})
    return method.objective(variables, stage, jax.random.key(1), dark, 0, 0)[0]

  pushed = jnp.full_like(dark.inputs, -0.05)
  at_shown = jax.grad(total)(pushed)
  np.testing.assert_array_equal(at_shown, jax.grad(total)(0 * pushed))
  assert float(jnp.mean(at_shown[:5] != 0)) > 0.5


@pytest.mark.parametrize("kept", [False, True])
def test_the_random_control_is_of_the_size_of_the_crafted_noise(kept):
  """Both in what is shown: on images with walls, over several periods."""
  method = HIRE(periods=4, noise=methods.scattered, keep_noise=kept)
  step = jax.jit(training.make_train_step(method, TX))
  state = begin(method, batch=WALLS)
  for _ in range(3):
    state, metrics = step(state, WALLS)
  assert float(metrics["noise_crafted"]) > 0.01
  np.testing.assert_allclose(
    metrics["noise_shown"], metrics["noise_crafted"], rtol=1e-5
  )


def test_noise_stays_in_its_radius_and_off_means_none():
  state = begin(METHODS["hire_kept"])
  for _ in range(3):
    state, _ = step_of("hire_kept")(state, BATCH)
  carried = np.asarray(state.carried)
  assert float(np.abs(carried).max()) == pytest.approx(0.08)
  off = HIRE(periods=2, noise=methods.no_noise, keep_noise=True)
  _, metrics = jax.jit(training.make_train_step(off, TX))(begin(off), BATCH)
  assert float(metrics["noise_shown"]) == 0


def test_scattered_noise_is_the_crafted_sizes_elsewhere_of_random_signs():
  inputs = {"image": WALLS.inputs, "events": BATCH.inputs[:, :, :, 0]}
  drawn = {
    name: RNG.choice([-0.08, 0.0, 0.03], size=leaf.shape).astype(np.float32)
    for name, leaf in inputs.items()
  }
  change = jax.tree.map(lambda x, d: jnp.clip(x + d, 0, 1) - x, inputs, drawn)
  shown = methods.scattered(jax.random.key(0), inputs, change, (0.0, 1.0))
  for name, leaf in shown.items():
    rows, crafted = (np.asarray(a).reshape(6, -1) for a in (leaf, change[name]))
    np.testing.assert_array_equal(
      np.sort(np.abs(rows)), np.sort(np.abs(crafted))
    )
    moved = np.asarray(inputs[name] + leaf)
    assert moved.min() >= 0
    assert moved.max() <= 1
    free = (rows != 0) & (crafted != 0)
    assert 0.3 < np.mean(np.sign(rows[free]) == np.sign(crafted[free])) < 0.7
    assert len(np.unique([np.argsort(row) for row in rows], axis=0)) == 6


def test_scattered_noise_without_room_is_cut_to_the_larger_side():
  inputs, change = jnp.full((1, 3), 0.4), jnp.array([[0.5, -0.4, 0.6]])
  shown = methods.scattered(jax.random.key(0), inputs, change, (0.0, 1.0))
  assert np.all((inputs + shown >= 0) & (inputs + shown <= 1))
  # 0.5 and 0.6 fit upwards only, 0.4 on both sides.
  sizes = np.sort(np.abs(np.asarray(shown)), axis=None)
  np.testing.assert_allclose(sizes, [0.4, 0.5, 0.6], rtol=1e-6)
  wide = methods.scattered(
    jax.random.key(0), inputs, jnp.full((1, 3), 0.9), (0.0, 1.0)
  )
  np.testing.assert_allclose(wide, 0.6, rtol=1e-6)


def test_hire_on_event_frames_perturbs_one_period_of_frames():
  network = models.mlp(
    (8,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.frames(STEPS)
  )
  batch = BATCH._replace(
    inputs=jnp.asarray(RNG.uniform(size=(6, STEPS, 3, 3, 2)), jnp.float32)
  )
  method = methods.hire(
    network,
    rule=RULE,
    steps=STEPS,
    periods=2,
    step_size=0.05,
    radius=0.1,
    framed=("",),
    keep_noise=True,
  )
  state = training.init_state(jax.random.key(0), network, method, TX, batch)
  state, metrics = jax.jit(training.make_train_step(method, TX))(state, batch)
  assert state.carried.shape == (6, 2, 3, 3, 2)
  assert float(jnp.abs(state.carried).max()) > 0
  assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"periods": 3}, "periods must divide the 4 steps"),
    ({"periods": 0}, "periods must be a whole number"),
    ({"periods": 2, "radius": 0.0}, "radius must be positive"),
    ({"periods": 2, "step_size": -1.0}, "step_size must be positive"),
  ],
)
def test_hire_checks_its_arguments(options, message):
  with pytest.raises(ValueError, match=message):
    HIRE(**options)


def test_sharded_step_is_a_single_device_step():
  mesh = jax.make_mesh(
    (2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  sharded = jax.device_put(BATCH, split)
  for name in ("vanilla", "sr"):
    one, _ = step_of(name)(begin(METHODS[name]), BATCH)
    two, _ = step_of(name)(begin(METHODS[name]), sharded)
    np.testing.assert_allclose(weights(one), weights(two), rtol=1e-4, atol=1e-6)


def test_hire_does_the_work_of_one_ordinary_step():
  """Floating-point operations of two periods against one run over T."""
  network = models.cnn(
    (8, 16), neuron=neurons.lif(), encoder=encoders.direct(STEPS)
  )
  batch = BATCH._replace(inputs=jnp.full((6, 12, 12, 1), 0.5))

  def operations(method):
    state = jax.eval_shape(
      lambda: training.init_state(jax.random.key(0), network, method, TX, batch)
    )
    step = jax.jit(training.make_train_step(method, TX))
    costs = step.lower(state, batch).compile().cost_analysis()
    return (costs[0] if isinstance(costs, list) else costs)["flops"]

  hire = methods.hire(
    network, rule=RULE, steps=STEPS, periods=2, step_size=0.05, radius=0.1
  )
  ratio = operations(hire) / operations(methods.vanilla(network, rule=RULE))
  assert 0.9 < ratio < 1.1, ratio
