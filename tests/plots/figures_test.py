"""Every figure is a picture whose numbers are told beside it."""

import io
import subprocess
import sys

import numpy as np
import pytest

from snnjax import plots, report
from snnjax.intervals import wilson
from tests.plots import cases

matplotlib = pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
NETWORKS = ("vanilla", "SR")


def accuracy():
  return plots.accuracy_against_epsilon(
    {
      "image": {
        "vanilla": plots.Curve([0.0, 0.2, 0.1], [90, 0, 40], 100),
        "SR": plots.Curve([0.0, 0.1, 0.2], [85, 70, 50], 100),
      },
      "events": {"vanilla": plots.Curve([0.0, 1.0], [90, 10], 100)},
    },
    caption="x",
    chance=0.1,
  )


def gradients():
  arrays = {n: RNG.normal(size=(3, 4, 8, 8, 2)) for n in NETWORKS}
  return plots.gradient_maps(
    arrays, inputs=RNG.random((3, 8, 8, 1)), labels=list("abc"), caption="x"
  )


def histograms():
  values = {
    n: {"clean": RNG.random(30), "pgd": RNG.random(30)} for n in NETWORKS
  }
  values["SR"]["clean"][:3] = np.nan
  return plots.sparsity_histograms(
    values, metric="Gini", caption="x", name="gini"
  )


def along():
  return plots.sparsity_along_attack(
    {"SR": np.array([[1.0, 2.0, 3.0, np.nan], [np.nan] * 4, [4.0] * 4])},
    metric="Hoyer",
    steps=[0, 5, 10],
    caption="x",
    name="along",
  )


def raster():
  return plots.spike_raster(
    {"conv": RNG.random((6, 10, 30)) < 0.2, "head": np.ones((6, 3))},
    caption="x",
  )


def ratio():
  return plots.vulnerability_ratio(
    {"SR": plots.Ratios(np.array([4.0, 9.0, 0.0]), np.array([6, 12, np.nan]))},
    caption="x",
  )


def pairs():
  return plots.paired_differences(
    cases.paired(cases.ARMS[:3], cases.CELLS[:1]),
    control=cases.CONTROL,
    metric="m",
    caption="x",
  )


def bands():
  panels = cases.bands(cases.ARMS[:2], cases.CELLS[:1])
  return plots.bands_along(panels, metric="m", caption="x")


def transfer():
  values, keys = cases.matrix(cases.ARMS[:3], ("linf",), 1)
  return plots.transfer_matrix(values, caption="x", **keys)


def sizes():
  points = cases.points(cases.ARMS[:3], ("linf",))
  return plots.size_against_sparsity(points, caption="x")


def strip():
  return plots.verdict_strip(cases.contrasts(), caption="x")


QUESTIONS = [pairs, bands, transfer, sizes, strip]
FIGURES = [accuracy, gradients, histograms, along, raster, ratio, *QUESTIONS]


@pytest.mark.parametrize("make", FIGURES)
def test_a_figure_is_a_reportable_picture(make, tmp_path):
  figure = make()
  section = report.Section("S", figures=(figure,))
  report.write(report.Record("R", "", (), (section,), {}), tmp_path)
  pixels = np.asarray(image.open(io.BytesIO(figure.png)).convert("RGB"))
  assert pixels.shape[0] >= 300
  assert pixels.shape[1] >= 300
  assert len(set(map(bytes, pixels[::3, ::3].reshape(-1, 3)))) > 20
  # Nothing is drawn over the paper's edge: its outermost ring is white, but
  # for frames that end there.
  assert np.mean(pixels[-1] == 255) == 1.0
  assert np.mean(pixels[:, 0] == 255) == 1.0


def test_the_same_numbers_give_the_same_bytes():
  assert accuracy().png == accuracy().png


def test_accuracy_is_sorted_and_has_wilson_bands():
  line = accuracy().data["curves"]["image"]["vanilla"]
  assert line["epsilon"] == [0.0, 0.1, 0.2]
  assert line["accuracy"] == (0.9, 0.4, 0.0)
  assert line["low"][1] == wilson(40, 100).low
  assert line["high"][2] == wilson(0, 100).high


def test_gradient_maps_share_one_scale():
  weak, strong = np.full((1, 8, 8), 0.1), np.full((1, 8, 8), -4.0)
  data = plots.gradient_maps({"a": weak, "b": strong}, caption="x").data
  assert data["scale"] == 4.0
  zero = plots.gradient_maps({"a": 0 * weak}, caption="x")
  assert zero.data["scale"] == 1.0


def test_maps_are_sums():
  frames = RNG.normal(size=(2, 3, 4, 5, 2))
  np.testing.assert_allclose(
    plots.as_maps(frames), np.einsum("nthwc->nhw", frames)
  )
  images = frames[:, 0]
  np.testing.assert_allclose(
    plots.as_maps(images), images[..., 0] + images[..., 1]
  )


def test_quartiles_leave_out_what_is_undefined():
  line = along().data["values"]["SR"]
  assert line["median"][0] == 2.0
  assert np.isnan(line["median"][1])
  assert (line["lower_quartile"][2], line["upper_quartile"][2]) == (4.0, 4.0)
  assert line["undefined"].tolist() == [1, 4, 0]


def test_the_raster_says_what_it_leaves_out():
  data = raster().data
  assert len(data["conv"]["neurons"]) == 200
  assert data["conv"]["spikes"].shape == (6, 200)
  assert data["head"]["rate"] == 1.0


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (
      lambda: plots.accuracy_against_epsilon({"image": {}}, caption="x"),
      "curves must",
    ),
    (
      lambda: plots.gradient_maps({"a": np.zeros((2, 3))}, caption="x"),
      "arrays must",
    ),
    (
      lambda: plots.gradient_maps(
        {"a": np.zeros((2, 3, 3)), "b": np.zeros((1, 3, 3))}, caption="x"
      ),
      "same number of examples",
    ),
    (
      lambda: plots.gradient_maps(
        {"a": np.zeros((2, 3, 3))}, labels=["one"], caption="x"
      ),
      "labels must",
    ),
    (
      lambda: plots.sparsity_histograms({}, metric="m", caption="", name="n"),
      "values must",
    ),
    (
      lambda: plots.sparsity_along_attack(
        {"a": np.zeros(3)}, metric="m", caption="", name="n"
      ),
      "values must",
    ),
    (
      lambda: plots.sparsity_along_attack(
        {"a": np.zeros((3, 2))}, metric="m", caption="", name="n", steps=[1]
      ),
      "steps must",
    ),
    (
      lambda: plots.spike_raster({"a": np.zeros(3)}, caption="x"),
      "spikes must",
    ),
    (
      lambda: plots.vulnerability_ratio(
        {"a": plots.Ratios(np.ones(3), np.ones(2))}, caption="x"
      ),
      "ratios must",
    ),
  ],
)
def test_bad_arguments_are_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_pyplot_and_its_settings_are_left_alone():
  # Reading the setting "backend" would import pyplot itself.
  program = (
    "import sys, matplotlib as m\n"
    "def settings(): return {k: m.rcParams[k] for k in m.rcParams "
    "if k != 'backend'}\n"
    "before = settings()\n"
    "import numpy as np; from snnjax import plots\n"
    "plots.spike_raster({'a': np.ones((3, 3))}, caption='x')\n"
    "assert 'matplotlib.pyplot' not in sys.modules\n"
    "assert settings() == before\n"
  )
  subprocess.run([sys.executable, "-c", program], check=True)


def test_the_report_and_the_evaluation_need_no_matplotlib():
  program = (
    "import sys; sys.modules['matplotlib'] = None\n"
    "import snnjax.report, snnjax.evaluation, snnjax.checks\n"
  )
  subprocess.run([sys.executable, "-c", program], check=True)


def test_any_name_of_a_network_can_be_drawn():
  names = [
    "_hidden",
    "costs $5",
    r"a$\frac$b",
    "x" * 200 + "1" + "x" * 50,
    "x" * 200 + "2" + "x" * 50,
  ]
  curve = plots.Curve([0.0, 0.1], [9, 5], 10)
  figure = plots.accuracy_against_epsilon(
    {"image": dict.fromkeys(names, curve)}, caption="All of them."
  )
  assert figure.png.startswith(b"\x89PNG")
  assert list(figure.data["curves"]["image"]) == names
  labels = list(plots.canvas.labels(names).values())
  assert len(set(labels)) == len(names)
  assert not [label for label in labels if label.startswith("_")]
  assert max(map(len, labels)) <= 40
  assert plots.canvas.labels(["vanilla"]) == {"vanilla": "vanilla"}
