"""The figures of the questions: what is drawn, said and refused."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from snnjax import plots, replication
from snnjax.intervals import Interval, student
from snnjax.plots import canvas, wording
from tests.plots import cases, letters
from tests.plots.cases import ARMS, CELLS, CONTROL, NAN


def paired(panels=None, **keys):
  return plots.paired_differences(
    cases.paired() if panels is None else panels,
    **{
      "control": CONTROL,
      "metric": "log participation ratio of the margin's gradient",
      "caption": "x",
      "smallest_effect": 0.05,
      **keys,
    },
  )


def bands(panels=None, **keys):
  panels = cases.bands() if panels is None else panels
  keys = {"metric": "log participation ratio", "caption": "x", **keys}
  return plots.bands_along(panels, **keys)


def matrix(values=None, **keys):
  there, others = cases.matrix()
  keys = {**others, "trained": {"SR": ["linf"]}, "caption": "x", **keys}
  return plots.transfer_matrix(there if values is None else values, **keys)


def scatter(points=None, **keys):
  points = cases.points() if points is None else points
  return plots.size_against_sparsity(points, **{"caption": "x", **keys})


def strip(contrasts=None, **keys):
  contrasts = cases.contrasts() if contrasts is None else contrasts
  return plots.verdict_strip(contrasts, caption="x", **keys)


def radii(curves=None, **keys):
  curves = cases.radii() if curves is None else curves
  return plots.chosen_radii(curves, **{"caption": "x", **keys})


@pytest.mark.parametrize(
  "make",
  [
    paired,
    lambda: paired(cases.paired(ARMS[:3], CELLS[:1])),
    lambda: bands(
      cases.bands(cells=CELLS[:2]), right=cases.bands(cells=CELLS[:2])
    ),
    matrix,
    lambda: scatter(slopes=dict.fromkeys(["linf", "l1"], cases.SLOPES)),
    strip,
    radii,
  ],
  ids=["paired", "pair", "bands", "matrix", "scatter", "strip", "radii"],
)
def test_every_text_is_on_the_paper_and_covers_no_other(
  make, drawings, monkeypatch
):
  # Settings that ask for TeX must not start it while texts are measured.
  def tex(*_):
    raise AssertionError("TeX was started")

  monkeypatch.setattr("matplotlib.texmanager.TexManager.make_dvi", tex)
  with matplotlib.rc_context({"text.usetex": True}):
    make()
  for text in drawings[0].findobj(matplotlib.text.Text):
    text.set_usetex(False)  # as `canvas.png` does
  letters.check_all_is_read(drawings[0])


def test_texts_that_overlap_are_seen(drawings):
  strip()
  drawings[0].axes[0].annotate("over it", (0, 0.95), xycoords="axes fraction")
  drawings[0].axes[0].annotate("under it", (0, 0.95), xycoords="axes fraction")
  with pytest.raises(AssertionError, match="over it"):
    letters.check_all_is_read(drawings[0])


# Paired seeds.


def test_each_network_with_a_number_is_a_dot(drawings, key):
  panels = {
    "one": {
      "control": plots.PairedArm({0: 0.5, 1: 0.7, 2: 0.6}),
      "gap": plots.PairedArm({0: 0.4, 1: NAN}),
      "last": plots.PairedArm({0: 0.3, 1: 0.2, 2: 0.1}),
    },
    "two": {"control": plots.PairedArm({0: 0.5, 1: 0.6})},
  }
  figure = paired(panels, control="control")
  axes = drawings[0].axes[0]
  dots = [dots.get_offsets().tolist() for dots in axes.collections]
  assert dots[0] == [[0.5, 0], [0.7, 0], [0.6, 0]]
  assert dots[1] == [[0.4, 1]]
  # A line for each seed, which ends where the arm in between has no number.
  lines = [np.asarray(line.get_xdata(), float) for line in axes.lines[:3]]
  np.testing.assert_array_equal(
    lines, [[0.5, 0.4, 0.3], [0.7, NAN, 0.2], [0.6, NAN, 0.1]]
  )
  gap = figure.data["panels"]["one"]["gap"]
  assert (gap["without_number"], gap["not_there"]) == ([1], [2])
  assert "Without a number: gap, seed 1 (one)." in key()
  assert "not compared\n1 without a number" in letters.beside(axes)
  assert "no network" in letters.beside(drawings[0].axes[1])


def test_means_and_differences_have_their_intervals(drawings):
  first, second = {0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.3, 1: 0.2, 2: 0.1}
  contrast = replication.paired_contrast(second, first)
  figure = paired(
    {
      "one": {
        "a": plots.PairedArm(first),
        "b": plots.PairedArm(second, contrast),
        "c": plots.PairedArm({0: 0.4}),
      }
    },
    control="a",
    confidence=0.9,
    smallest_effect=0.05,
  )
  numbers = figure.data["panels"]["one"]
  mean = student(list(first.values()), 0.9)
  assert tuple(numbers["a"][k] for k in ("mean", "low", "high")) == mean
  assert numbers["b"]["difference"] == contrast.interval(0.9)._asdict()
  axes = drawings[0].axes[0]
  written = wording.with_ends(contrast.interval(0.9), 3)
  assert written in letters.beside(axes)
  (band,) = axes.patches
  np.testing.assert_allclose(
    band.get_extents().transformed(axes.transData.inverted()).intervalx,
    [mean.estimate - 0.05, mean.estimate + 0.05],
  )
  # Only arms of several seeds have an interval below their dots.
  spans = [line.get_xydata() for line in axes.lines[-4::2]]
  assert [span[0, 1] for span in spans] == pytest.approx([0.27, 1.27])
  assert spans[0][:, 0].tolist() == [mean.low, mean.high]


# Bands along an attack.


def test_a_band_is_of_the_seeds_with_a_number(drawings, key):
  rows = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, NAN], [3.0, 9.0, NAN]])
  panels = {"one": {"a": rows, "b": rows[:1]}}
  line = bands(panels).data["panels"]["one"]["metric"]["a"]
  means = [student(c) for c in ([1, 2, 3], [2, 4, 9], [3])]
  np.testing.assert_array_equal(
    np.transpose([line["line"], line["low"], line["high"]]), means
  )
  assert line["undefined"].tolist() == [0, 0, 2]
  assert "Seeds: 1 to 3. One seed, so no band: b (one)." in key()
  assert "Undefined and left out: a 2 of 9 (one)." in key()
  line = bands(panels, spread="range").data["panels"]["one"]["metric"]["a"]
  assert line["line"].tolist() == [2, 4, 3]
  assert line["low"].tolist()[:2] == [1, 2]
  assert line["high"].tolist()[:2] == [3, 9]
  assert np.isnan(line["low"][2])
  assert "median" in key()
  drawn = drawings[1].axes[0].lines[0]
  assert drawn.get_xydata().tolist() == [[0, 2], [1, 4], [2, 3]]
  filled, empty = drawings[1].axes[0].collections
  assert filled.get_paths()[0].get_extents().extents.tolist() == [0, 1, 1, 9]
  assert not any(len(path.vertices) for path in empty.get_paths())


def test_the_share_still_right_lies_below(drawings):
  panels = cases.bands(ARMS[:2], CELLS[:2])
  figure = bands(panels, right=panels, steps=[0, 1, 2, 5, 10, 20])
  above, below, second, _ = drawings[0].axes
  assert [axes.get_ylabel() for axes in (above, second, below)] == [
    "log participation ratio",
    "",
    "Still right",
  ]
  line = figure.data["panels"][CELLS[0]]["right"][ARMS[1]]["line"]
  assert below.lines[1].get_ydata().tolist() == line.tolist()
  assert below.lines[1].get_xdata().tolist() == [0, 1, 2, 5, 10, 20]


# The transfer matrix.


def test_cells_tell_their_mean_interval_and_gaps(drawings, key):
  shares = [0.5, 0.6, 0.7]
  figure = plots.transfer_matrix(
    {
      "a": {"x": dict(enumerate(shares)), "y": {0: 0.25}},
      "b": {"x": {0: 0.1, 1: 0.3, 2: NAN}, "all": {0: NAN}},
    },
    rows={"": ["b", "a"]},
    columns={"linf": {"x": "0.1"}, "l1": {"y": "5"}},
    union="all",
    trained={"a": ["l1"]},
    caption="x",
  )
  axes = drawings[0].axes[0]
  half = 50 * (student(shares).high - student(shares).low)
  assert letters.beside(axes)[:6] == [
    "20\u2020 \u00b1 127",
    "none",
    "none",
    f"60 \u00b1 {half:.0f}",
    "25",
    "none",
  ]
  assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
  *_, white, black = axes.patches
  assert black.get_xy() == white.get_xy() == axes.patches[4].get_xy()
  assert (black.get_width(), black.get_fill()) == (1, False)
  assert figure.data["cells"]["b"]["x"]["without"] == [2]
  assert figure.data["cells"]["a"]["x"]["mean"] == student(shares).estimate
  for words in ("over 1 to 3 seeds", "(1 in all)", "Hatched", "one seed"):
    assert words in key()


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_numbers_in_cells_have_contrast(share):
  fill = matplotlib.colormaps["Blues"](share)
  ink = canvas.ink_on(fill)
  lights = sorted(
    0.2126 * r + 0.7152 * g + 0.0722 * b
    for r, g, b in (
      [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(shade)
      ]
      for shade in (fill, ink)
    )
  )
  assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5  # WCAG 2, AA


# Size against sparsity.


def test_marks_lie_at_size_and_sparsity(drawings, key):
  point = plots.NetworkPoint
  figure = scatter(
    {
      "linf": [
        point("a", 0.0, 1.0, 0.2, "a 0"),
        point("a", 1.0, 2.0, NAN, "a 1"),
        point("b", 2.0, 3.0, 0.4, "b 0"),
        point("b", 1.0, 2.0, 0.3, "b 1"),
      ]
    },
    slopes={
      "linf": plots.Slopes(Interval(-0.3, -0.4, -0.2), Interval(0, 0, 0))
    },
  )
  first, second = drawings[0].axes[0].collections
  np.testing.assert_allclose(np.log(first.get_offsets()), [[0, 1]], atol=1e-12)
  np.testing.assert_allclose(np.log(second.get_offsets()), [[2, 3], [1, 2]])
  assert second.get_array().tolist() == [0.4, 0.3]
  assert second.get_clim() == (0.0, 0.4)
  assert figure.data["without_number"] == {"linf": ["a 1"]}
  assert "Not drawn, without a number: a 1 (linf)." in key()
  # Accuracy falls with size and does not change with sparsity.
  assert figure.data["fits"]["linf"]["direction"] == [-1.0, 0.0]
  (arrow,) = (t for t in drawings[0].axes[0].texts if not t.get_text())
  assert arrow.xy[0] < arrow.xyann[0]
  assert arrow.xy[1] == arrow.xyann[1]


def test_an_arrow_counts_axes_in_their_spread(drawings):
  spread = [(0.0, 0.0), (2.0, 0.5)]
  figure = scatter(
    {"l1": [plots.NetworkPoint("a", x, y, 0.5) for x, y in spread]},
    slopes={"l1": plots.Slopes(Interval(1, 1, 1), Interval(4, 4, 4))},
  )
  np.testing.assert_allclose(
    figure.data["fits"]["l1"]["direction"], [0.5**0.5, 0.5**0.5]
  )


# Verdicts.


def test_rows_tell_estimate_threshold_and_verdict(drawings):
  figure = strip()
  logs, accuracies = drawings[0].axes
  assert [len(axes.get_yticks()) for axes in (logs, accuracies)] == [3, 2]
  assert letters.beside(logs)[:4] == [
    "\u22120.200 [\u22120.300, \u22120.100]",
    "verified",
    "+0.010 [\u22120.090, +0.110]",
    "refuted",
  ]
  assert "not deciding" in letters.beside(logs)
  assert letters.beside(accuracies)[2:] == ["not measured"]
  dashes = [line for line in accuracies.lines if line.is_dashed()]
  assert [line.get_xdata()[0] for line in dashes] == [0.02, -0.02, 0.02]
  assert logs.lines[1].get_xdata()[0] == -0.05  # claimed to be less
  shades = {
    text.get_text(): to_hex(text.get_color())
    for text in (*logs.texts, *accuracies.texts)
  }
  assert len({shades[w] for w in ("verified", "refuted", "not deciding")}) == 3
  assert figure.data["contrasts"][4]["estimate"] is None
  assert figure.data["contrasts"][0]["estimate"]["low"] == pytest.approx(-0.3)


# What is refused.

ROW = plots.ContrastRow("a", "here", Interval(0.1, 0.0, 0.2), 0.05)
ONE = {"linf": [plots.NetworkPoint("a", 0.0, 0.0, 0.5)]}


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: paired({}), "panels must hold an arm per panel"),
    (lambda: paired({"one": {}}), "got none in 'one'"),
    (lambda: paired(control="another"), "control must be one of"),
    (lambda: paired(smallest_effect=0.0), "smallest_effect must be positive"),
    (lambda: paired(columns=0), "columns must be at least 1"),
    (
      lambda: paired({"a": {CONTROL: plots.PairedArm({3: float("inf")})}}),
      "got inf of seed 3",
    ),
    (
      lambda: paired({"a": {CONTROL: plots.PairedArm({3: NAN})}}),
      "must hold a finite number",
    ),
    (lambda: bands({}), "panels must hold an arm per panel"),
    (lambda: bands({"a": {"b": np.zeros(3)}}), r"panels\['a'\] must be \[S,"),
    (
      lambda: bands({"a": {"b": np.zeros((1, 3)), "c": np.zeros((1, 2))}}),
      "one K for all arms",
    ),
    (lambda: bands({"a": {"b": np.full((1, 3), np.inf)}}), "finite or NaN"),
    (lambda: bands(steps=[0, 1]), "steps must be the 6"),
    (lambda: bands(spread="quartiles"), "spread must be"),
    (lambda: bands(columns=0), "columns must be at least 1"),
    (lambda: bands(right=cases.bands(ARMS[:2])), "right must have the panels"),
    (lambda: bands(right=cases.bands(steps=3)), "as many steps as panels"),
    (
      lambda: bands(
        {"a": {"b": np.full((1, 3), 2.0)}},
        right={"a": {"b": np.full((1, 3), 2.0)}},
      ),
      r"must be shares in \[0, 1\]; got 2 to 2",
    ),
    (lambda: matrix(rows={}), "rows must name at least one"),
    (lambda: matrix(rows={"": ["SR", "SR"]}), "none of them twice"),
    (lambda: matrix(union="none"), "columns and union must be among"),
    (lambda: matrix(trained={"SR": ["l7"]}), "trained must be among linf"),
    (
      lambda: matrix(
        {a: {"union": {0: 1.5}} for a in ARMS}, columns={}, trained={}
      ),
      "got 1.5 of seed 0",
    ),
    (
      lambda: matrix(
        {a: {"union": {0: NAN}} for a in ARMS}, columns={}, trained={}
      ),
      "must hold a number in a cell",
    ),
    (lambda: scatter({}), "points must hold a panel"),
    (lambda: scatter(ONE, slopes={"l2": cases.SLOPES}), "slopes of"),
    (lambda: scatter({"linf": []}), "must have a network with all numbers"),
    (
      lambda: scatter({"l1": [plots.NetworkPoint("a", 0.0, 0.0, 2.0, "me")]}),
      "accuracies in .* of me",
    ),
    (lambda: scatter(ONE, columns=0), "columns must be at least 1"),
    (lambda: strip([]), "contrasts must hold a row"),
    (lambda: strip([ROW._replace(verdict="true")]), "verdict must be"),
    (lambda: strip([ROW._replace(alternative="up")]), "alternative must be"),
    (lambda: strip([ROW._replace(smallest_effect=0)]), "smallest_effect must"),
    (
      lambda: strip([ROW._replace(estimate=None, verdict="refuted")]),
      "must have no verdict",
    ),
    (
      lambda: strip([ROW._replace(estimate=Interval(0, -np.inf, 0))]),
      "estimate must be finite",
    ),
  ],
)
def test_bad_arguments_are_named_on_one_line(make, message):
  with pytest.raises(ValueError, match=message) as error:
    make()
  assert "\n" not in str(error.value)


def test_chosen_radii_lie_on_their_line(drawings):
  figure = radii({"l2": {"image": cases.RADII}})
  line = figure.data["curves"]["l2"]["image"]
  # Halfway between 1 and 10 on a logarithmic axis, and at 10 itself.
  np.testing.assert_allclose(line["accuracy at chosen"], (0.7, 0.5))
  (axes,) = drawings[0].axes
  assert axes.get_xscale() == "log"
  *faint, mean, marks = axes.get_lines()
  assert len(faint) == 2
  np.testing.assert_allclose(mean.get_ydata(), (0.9, 0.5, 0.0))
  np.testing.assert_allclose(marks.get_xdata(), (10**0.5, 10.0))


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"radii": (1.0, 10.0)}, "accuracies must be"),
    ({"radii": (0.0, 1.0, 10.0)}, "radii must rise from above 0 under l2"),
    ({"radii": (1.0, 10.0, 10.0)}, "radii must rise"),
    ({"chosen": (0.5,)}, "chosen must lie in 1..100 under l2; got .0.5."),
  ],
)
def test_a_wrong_curve_of_radii_is_named(changes, match):
  wrong = cases.RADII._replace(**changes)
  with pytest.raises(ValueError, match=match):
    radii({"l2": {"image": wrong}})


def test_radii_without_a_line_are_refused():
  with pytest.raises(ValueError, match="curves must hold a line per panel"):
    radii({"l2": {}})
