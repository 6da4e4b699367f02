"""The doctor: what it sees, and that a fault is named and counted."""

import json
import shutil
import sys

import pytest

from experiments.command import doctor_checks
from experiments.command.doctor_checks import State
from snnjax.data.importers import prepare
from tests import tiny_runs
from tests.datasets.downloads import write_mnist
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  write_mnist(root / "source")
  prepare.prepare(root / "source", "mnist", root)
  return root


def one(findings, name):
  (found,) = [each for each in findings if each.name == name]
  return found


def test_a_sound_machine_is_healthy(folder):
  findings = doctor_checks.examine(str(folder))
  assert doctor_checks.is_healthy(findings)
  assert one(findings, "packages").details["jax"]
  devices = one(findings, "devices").details
  assert devices["backend"] == "cpu"
  assert len(devices["devices"]) == 2
  assert one(findings, "compile").details["right"]
  assert one(findings, "data digits").details == {"test": 2000}
  prepared = one(findings, "data mnist")
  assert prepared.details["splits"] == {"train": 7, "test": 3}
  for name in ("working", "temporary", "data"):
    assert one(findings, f"disk, {name}").details["free"] > 0
  text = doctor_checks.describe(findings)
  assert text.endswith("\nnothing is broken\n")
  assert len(text.splitlines()) == len(findings) + 1


def test_a_package_that_is_missing_is_named_with_the_remedy(monkeypatch):
  monkeypatch.setitem(sys.modules, "optax", None)
  findings = doctor_checks.check_packages()
  (found,) = [f for f in findings if f.name == "packages"]
  assert found.state is State.BROKEN
  assert found.text.startswith("optax: ModuleNotFoundError")
  assert found.text.endswith("Run: pip install optax")
  assert not doctor_checks.is_healthy(findings)
  assert doctor_checks.describe(findings).endswith("\nbroken: packages\n")


def test_a_missing_extra_is_a_note(monkeypatch):
  monkeypatch.setitem(doctor_checks.OPTIONAL, "no-such-thing", ("plot", "x"))
  findings = doctor_checks.check_extras()
  found = one(findings, "no-such-thing")
  assert found.state is State.NOTE
  assert "pip install 'snnjax[plot]'" in found.text
  assert doctor_checks.is_healthy(findings)


def test_a_check_that_raises_hides_no_other(monkeypatch):
  def fails():
    raise RuntimeError("no\ndriver")

  monkeypatch.setattr(doctor_checks, "check_devices", fails)
  findings = doctor_checks.examine()
  assert one(findings, "devices")[1:3] == (
    State.BROKEN,
    "RuntimeError: no driver",
  )
  assert one(findings, "compile").state is not State.BROKEN
  assert not doctor_checks.is_healthy(findings)


def test_a_damaged_data_set_is_a_note(folder, tmp_path):
  root = tmp_path / "data"
  shutil.copytree(folder, root)
  (root / "mnist" / "1.0.0" / "dataset_info.json").write_text("{")
  found = one(doctor_checks.check_data(str(root)), "data mnist")
  assert found.state is State.NOTE
  assert "is damaged" in found.text


def test_no_data_set_says_how_to_get_one(tmp_path):
  found = one(doctor_checks.check_data(str(tmp_path / "nowhere")), "data")
  assert found.state is State.NOTE
  assert "experiments.prepare_data" in found.text


@pytest.mark.parametrize(
  ("free", "state"),
  [(5 << 30, State.FINE), (1 << 30, State.NOTE), (1 << 20, State.BROKEN)],
)
def test_free_disk_is_judged(tmp_path, monkeypatch, free, state):
  usage = shutil.disk_usage(tmp_path)._replace(free=free)
  monkeypatch.setattr(doctor_checks.shutil, "disk_usage", lambda _: usage)
  states = {
    f.state for f in doctor_checks.check_disk(str(tmp_path / "not" / "yet"))
  }
  assert states == {state}


def test_a_wrong_result_is_broken(monkeypatch):
  import numpy as np

  monkeypatch.setattr(np, "allclose", lambda *_: False)
  (found,) = doctor_checks.check_compilation()
  assert found.state is State.BROKEN


def test_findings_are_json(folder):
  findings = doctor_checks.examine(str(folder))
  plain = json.loads(json.dumps(doctor_checks.to_record(findings)))
  assert plain["healthy"] is True
  assert len(plain["findings"]) == len(findings)
  assert {"name", "state", "text", "details"} == set(plain["findings"][0])


def test_the_binary_prints_json_and_exits_by_health(folder):
  code, out, err = tiny_runs.finished(
    "doctor", "--json", f"--data_dir={folder}"
  )
  assert (code, err) == (0, "")
  assert json.loads(out)["healthy"] is True
  # A platform that is not there breaks the devices, and the answer says so.
  code, out, _ = tiny_runs.finished(
    "doctor", f"--data_dir={folder}", environment={"JAX_PLATFORMS": "warp"}
  )
  assert code == 2
  assert out.splitlines()[-1].startswith("broken: devices")
