"""A report says the same in every format, and is written whole or not."""

import base64
import csv
import errno
import html.parser
import json
import os
import struct
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.checks import Measurements, Tone, check, verdict
from snnjax.report import (
  Column,
  Figure,
  Record,
  Section,
  Table,
  file_name,
  write,
)
from snnjax.report.record import check_record
from snnjax.report.wording import number

NAN = float("nan")


def png():
  """One grey pixel."""

  def part(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum

  head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
  pixel = zlib.compress(b"\x00\x80")
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    [part(b"IHDR", head), part(b"IDAT", pixel), part(b"IEND", b"")]
  )


TABLE = Table(
  name="robustness",
  title="Robust <accuracy>",
  caption="The share that no attack breaks.",
  columns=(
    Column("network", "Network"),
    Column("robust", "Accuracy", percent=True, interval=("low", "high")),
    Column("norm", "Gradient l1"),
    Column("examples", "Examples"),
  ),
  rows=(
    {
      "network": "vanilla | plain",
      "robust": 0.0125,
      "low": 0.004,
      "high": np.float32(0.05),
      "norm": 12.3456,
      "examples": 1200,
      "seed": 7,
    },
    {
      "network": "<script>alert(1)</script>",
      "robust": 0.5,
      "low": 0.4,
      "high": 0.6,
      "norm": NAN,
      "examples": None,
      "seed": 8,
    },
  ),
)
FIGURE = Figure(
  name="curve",
  title="Accuracy against epsilon",
  caption="Falls & falls.",
  alt='Two "lines"',
  png=png(),
  data={"epsilon": np.array([0.0, 0.1]), "accuracy": jnp.array([1.0, NAN])},
)
ALARMS = check(Measurements(outside=2, non_finite=0, outputs=9), "sr") + check(
  Measurements(
    outside=1, non_finite=4, outputs=9, differing_alone=0, attacked_alone=2
  ),
  "vanilla",
)
RECORD = Record(
  title="Digits & events",
  summary="The first finding.\n\nThe second.",
  alarms=ALARMS,
  sections=(
    Section("Robustness", "What it shows.", (TABLE,), (FIGURE,)),
    Section("Empty"),
  ),
  provenance={"jax": "1.0", "config": {"seed": 3, "epsilons": (0.1, NAN)}},
)


class Page(html.parser.HTMLParser):
  """Collects tags and text; fails on what is not closed."""

  VOID = frozenset({"meta", "img"})

  def __init__(self):
    super().__init__()
    self.open, self.tags, self.text = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if data.strip() and self.open[-1] != "style":
      self.text.append(data)


@pytest.fixture
def paths(tmp_path):
  return write(RECORD, tmp_path / "new" / "report")


@pytest.fixture
def page(paths):
  page = Page()
  page.feed(paths.html.read_text())
  assert page.open == []
  return page


def test_the_json_is_strict_and_versioned(paths):
  def refuse(name):
    raise AssertionError(f"{name} is no JSON")

  document = json.loads(paths.json.read_text(), parse_constant=refuse)
  assert (document["schema"], document["version"]) == ("snnjax.report", 1)
  rows = document["sections"][0]["tables"][0]["rows"]
  assert rows[0]["norm"] == 12.3456
  assert rows[1]["norm"] is None
  assert rows[0]["seed"] == 7
  assert document["provenance"]["config"]["epsilons"] == [0.1, None]
  alarm = document["alarms"][0]
  assert (alarm["state"], alarm["subject"]) == ("fired", "sr")
  assert alarm["evidence"] == {"outside": 2, "non_finite": 0, "outputs": 9}
  assert document["verdict"]["tone"] == "fired"


def test_the_csv_has_every_key_in_full_precision(paths):
  (path,) = paths.tables
  rows = list(csv.DictReader(path.read_text().splitlines()))
  assert list(rows[0]) == [
    "network",
    "robust",
    "low",
    "high",
    "norm",
    "examples",
    "seed",
  ]
  assert float(rows[0]["norm"]) == 12.3456
  assert rows[0]["network"] == "vanilla | plain"
  assert rows[1]["norm"] == "nan"
  assert rows[1]["examples"] == ""


def test_json_lies_beside_every_picture(paths):
  (path,) = paths.figures
  assert path.read_bytes() == FIGURE.png
  beside = json.loads(path.with_suffix(".json").read_text())
  assert beside["data"]["epsilon"] == [0.0, 0.1]
  assert beside["data"]["accuracy"] == [1.0, None]
  assert beside["alt"] == FIGURE.alt


def test_the_markdown_has_tables_pictures_and_alarms(paths):
  text = paths.markdown.read_text()
  assert "| vanilla \\| plain | 1.2 % (0.4 to 5.0) | 12.3 | 1,200 |" in text
  assert "| 50.0 % (40.0 to 60.0) | n/a | n/a |" in text
  assert '![Two "lines"](figures/curve.png)' in text
  assert text.index("## Alarms") < text.index("The first finding.")
  assert "config.epsilons: 0.1, nan" in text


def test_the_page_needs_nothing_else(paths, page):
  assert not [tag for tag, _ in page.tags if tag in ("script", "link")]
  sources = [attrs["src"] for _, attrs in page.tags if "src" in attrs]
  assert len(sources) == 1
  kind, _, data = sources[0].partition(",")
  assert kind == "data:image/png;base64"
  assert base64.b64decode(data) == FIGURE.png
  assert "http" not in paths.html.read_text()
  assert "url(" not in paths.html.read_text()
  hrefs = [attrs["href"] for _, attrs in page.tags if "href" in attrs]
  names = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
  assert len(hrefs) == 4
  assert {href.removeprefix("#") for href in hrefs} == names


def test_the_page_is_readable_by_machines_and_in_the_dark(page):
  images = [attrs for tag, attrs in page.tags if tag == "img"]
  assert images[0]["alt"] == FIGURE.alt
  assert ("html", {"lang": "en"}) in page.tags
  assert any(attrs.get("name") == "viewport" for _, attrs in page.tags)


def test_the_page_escapes_what_it_is_given(page):
  assert "Robust <accuracy>" in page.text
  assert "<script>alert(1)</script>" in page.text
  assert "Digits & events" in page.text


def test_alarms_come_first_and_one_check_is_told_once(page):
  text = "\n".join(page.text)
  name = "Outputs outside ball or box, or not finite"
  assert text.count(name) == 1
  assert text.index("Alarms") < text.index(name)
  assert text.index(name) < text.index("The first finding.")
  assert "sr: outside 2, non finite 0, outputs 9" in text
  assert "vanilla: outside 1, non finite 4, outputs 9" in text
  assert "2 alarms fired." in text
  assert "Of 40 checks 2 fired, 1 passed, 0 could not be decided" in text
  assert "37 could not be measured" in text
  assert "sr; vanilla: not measured: tuning indices" in text
  assert "No alarm fired." not in text


def test_every_format_says_of_the_alarms_what_the_verdict_says(tmp_path):
  few = {"one_restart_robust": np.ones(32, bool)}
  measured = {"differing_alone": 0, "attacked_alone": 2}
  for place, (alarms, green) in enumerate(
    [
      ((), False),
      (check(Measurements()), False),
      (check(Measurements(**measured)), False),
      (
        check(
          Measurements(**few, ten_restarts_robust=np.arange(32) > 0, **measured)
        ),
        False,
      ),
      ([a for a in check(Measurements(**measured)) if not a.missing], True),
    ]
  ):
    said = verdict(alarms)
    paths = write(RECORD._replace(alarms=alarms), tmp_path / str(place))
    page = paths.html.read_text()
    assert (said.tone is Tone.CLEAR) is green
    assert ('class="clear"' in page) is green
    assert ("No alarm fired.<" in page) is green
    assert said.sentence in page
    assert said.counts in page
    assert said.text in paths.markdown.read_text()
    assert json.loads(paths.json.read_text())["verdict"] == {
      "tone": said.tone.value,
      "text": said.text,
    }
  undecided = (tmp_path / "3" / "report.html").read_text()
  assert "<details open><summary>Undecided (1)" in undecided
  assert (
    "newly broken fraction 3.1 % (0.1 to 16.2), limit 1.0 %: 32 examples"
    in undecided
  )


def test_any_text_becomes_a_name_of_its_own():
  texts = [
    *("a b", "übung", "Übung", "ubung", "x.y", "..", ".x", "_x", "a/../b", "A"),
    *("seed=0,1", "n" * 255, "日本", "a\udcffb", "-", "", "a-0123abcd", "a"),
  ]
  names = [file_name(text) for text in texts]
  assert len(set(names)) == len(texts)
  assert max(map(len, names)) < 80
  section = Section("S", figures=[FIGURE._replace(name=name) for name in names])
  check_record(RECORD._replace(sections=(section,)))
  assert file_name("vanilla-2.x_y") == "vanilla-2.x_y"


@pytest.mark.parametrize(
  ("value", "options", "want"),
  [
    (None, {}, "n/a"),
    (NAN, {"percent": True}, "n/a"),
    (True, {}, "yes"),
    (np.bool_(False), {}, "no"),
    (0.12345, {}, "0.123"),
    (0.25, {}, "0.250"),
    (12345.678, {}, "12,346"),
    (9.996, {}, "10.0"),
    (1.5e-7, {}, "1.50e-7"),
    (2e9, {"digits": 2}, "2.0e9"),
    (0.0, {}, "0"),
    (-0.5, {}, "-0.500"),
    (1, {"percent": True}, "100.0 %"),
    (np.int32(12000), {}, "12,000"),
    (float("inf"), {}, "inf"),
  ],
)
def test_numbers_have_sensible_digits(value, options, want):
  assert number(value, **options) == want


def test_an_unwritable_folder_is_named(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(OSError, match=r"cannot be written into .*file/report"):
    write(RECORD, tmp_path / "file" / "report")


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
  first = write(RECORD, tmp_path)
  before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

  def full(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="No space left") as caught:
    write(RECORD._replace(title="Another"), tmp_path)
  assert caught.value.errno == errno.ENOSPC
  after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
  assert after == before
  assert first.html in after


@pytest.mark.parametrize(
  ("section", "message"),
  [
    (Section("S", tables=(TABLE, TABLE)), "table names must be unique"),
    (Section("S", tables=(TABLE._replace(name="../x"),)), "table names"),
    (Section("S", figures=(FIGURE._replace(name="A b"),)), "figure names"),
    (Section("S", figures=(FIGURE._replace(alt=""),)), "alternative text"),
    (Section("S", figures=(FIGURE._replace(png=b"GIF"),)), "PNG bytes"),
    (Section("S", figures=(FIGURE._replace(data={"f": len}),)), r"\['f'\]"),
    (
      Section("S", tables=(TABLE._replace(rows=({"network": "x"},)),)),
      "lacks .*'examples'",
    ),
  ],
)
def test_a_bad_record_writes_nothing(tmp_path, section, message):
  with pytest.raises(ValueError, match=message):
    write(RECORD._replace(sections=(section,)), tmp_path / "report")
  assert not (tmp_path / "report").exists()
