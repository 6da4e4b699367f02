"""What is measured: every task of every row, as plain data.

A task is a line of JSON for the workers, so nothing here imports a library.
"""

from typing import Any, NamedTuple

OWN = "snnjax"
TORCH = ("plain_torch", "spikingjelly", "snntorch", "norse")
SNN_PEERS = (*TORCH, "spyx")
ATTACK_PEERS = ("foolbox", "torchattacks")
PEERS = (*SNN_PEERS, *ATTACK_PEERS)

# Single steps of every seed, one mapped step, and what the library advises.
_SEEDS = ("seeds_loop", "seeds_vmap", "over_seeds")

# Attacks on the analog network: steps or queries, and which peers have them.
_ANALOG: dict[str, tuple[int, tuple[str, ...]]] = {
  "analog_fgsm": (1, ATTACK_PEERS),
  "analog_pgd": (10, ATTACK_PEERS),
  "analog_pgd_l2": (10, ATTACK_PEERS),
  "analog_slide": (10, ("foolbox",)),
  "analog_apgd": (20, ("torchattacks",)),
  "analog_apgd_l2": (20, ("torchattacks",)),
  "analog_fab": (10, ("torchattacks",)),
  "analog_square": (100, ("torchattacks",)),
  "analog_carlini_wagner": (20, ("foolbox",)),
  "analog_ead": (20, ("foolbox",)),
  "analog_deepfool": (20, ATTACK_PEERS),
  "analog_deepfool_linf": (20, ("foolbox",)),
  "analog_sparse_rs": (100, ()),
  "analog_sigma_zero": (20, ()),
}
# Those without choices: every library must find the same inputs.
EXACT = ("analog_fgsm", "analog_pgd", "analog_pgd_l2")

ROWS = {
  "A": "the LIF layer alone",
  "B": "two convolutions, 28x28x1",
  "C": "SR's VGG-11, 32x32x3",
  "D": "input gradients and their sparsity",
  "E": "the first step of a process",
  "F": "growth with steps, batch and attack steps",
  "G": "eight seeds",
  "H": "what the machine can do",
  "I": "attacks on an analog network",
  "J": "the standard suite on a weak network",
  "K": "the convolutions' forms for CPUs against JAX's own",
}


class Task(NamedTuple):
  """One line of the table.

  Attributes:
    row: a key of `ROWS`.
    kind: what is done, a key of the workers' tables.
    net: "lif", "cnn", "vgg" or "analog"; "none" for the ceilings.
    steps: T.
    batch: examples, or neurons of the LIF layer.
    side: height and width of the images.
    channels: of the convolutions, 0 for a 2x2 average pool; in row K what
      goes in and what comes out.
    hidden: widths of dense spiking layers.
    colors: channels of the images.
    reuse: whether the first layer is computed once for all steps, as the
      image does not change.
    iterations: attack steps or queries, matrix size, or seeds.
    libraries: who takes part, the own one first.
  """

  row: str
  kind: str
  net: str
  steps: int = 8
  batch: int = 64
  side: int = 28
  channels: tuple[int, ...] = (16, 32)
  hidden: tuple[int, ...] = ()
  colors: int = 1
  reuse: bool = True
  iterations: int = 10
  libraries: tuple[str, ...] = (OWN,)

  @property
  def name(self) -> str:
    """The task's name, unique within a run."""
    parts = [self.row, self.kind, f"T{self.steps}", f"B{self.batch}"]
    counted = ("pgd", *_SEEDS, "sgemm", *_ANALOG)
    if self.kind in counted:
      parts.append(f"n{self.iterations}")
    if self.row == "K":
      parts.append(f"{self.side}x{'x'.join(map(str, self.channels))}")
    if self.row in "BC":
      parts.append("reuse" if self.reuse else "no_reuse")
    return "/".join(parts)


def from_json(record: dict[str, Any]) -> Task:
  """Reads a task that `Task._asdict` and JSON made a record of."""
  lists = {k: tuple(v) for k, v in record.items() if isinstance(v, list)}
  return Task(**{**record, **lists})


def tasks(rows: str, peers: tuple[str, ...], tiny: bool) -> list[Task]:
  """Lists the tasks of some rows.

  Args:
    rows: keys of `ROWS`.
    peers: which peers take part, besides our own library.
    tiny: small sizes, to try the benchmark itself.
  """
  cnn = Task("B", "train", "cnn")
  vgg = Task(
    "C",
    "train",
    "vgg",
    batch=8,
    side=32,
    channels=(64, 0, 128, 256, 0, 512, 512, 512, 0, 512, 512),
    hidden=(4096, 4096),
    colors=3,
  )
  if tiny:
    cnn = cnn._replace(steps=4, batch=4, side=8, channels=(4, 4))
    small = (64, 0, 128, 128, 0)
    vgg = vgg._replace(
      steps=4, batch=2, side=8, channels=small, hidden=(16, 16)
    )
  makers = {
    "A": lambda: _lif(2000 if tiny else 1_000_000),
    "B": lambda: _cnn(cnn),
    "C": lambda: _vgg(vgg),
    "D": lambda: _gradients(cnn),
    "E": lambda: _starts(cnn),
    "F": lambda: _growth(cnn, tiny),
    "G": lambda: _seeds(cnn, tiny),
    "H": lambda: _ceilings(tiny),
    "I": lambda: _attacks(cnn),
    "J": lambda: _suites(cnn, tiny),
    "K": lambda: _convolutions(tiny),
  }
  chosen = [task for row in rows for task in makers[row]()]
  return [
    t._replace(libraries=tuple(n for n in t.libraries if n in (OWN, *peers)))
    for t in chosen
  ]


def _lif(neurons: int) -> list[Task]:
  everyone = (OWN, *SNN_PEERS)
  return [
    Task("A", kind, "lif", steps=steps, batch=neurons, libraries=everyone)
    for steps in (8, 32)
    for kind in ("lif_forward", "lif_gradient")
  ]


def _cnn(cnn: Task) -> list[Task]:
  """Every kind with and without reuse; peers who can do it."""
  spyx = ("infer", "train", "sr")
  tasks = []
  for reuse in (True, False):
    base = cnn._replace(reuse=reuse)
    tasks.append(base._replace(kind="check", libraries=(OWN, *TORCH)))
    for kind in ("infer", "train", "sr", "sr_jvp", "hire", "pgd"):
      participants: tuple[str, ...] = (OWN,)
      if kind != "sr_jvp":
        participants += TORCH
      if not reuse and kind in spyx:
        participants += ("spyx",)  # it convolves at every step
      tasks.append(base._replace(kind=kind, libraries=participants))
  return tasks


def _vgg(vgg: Task) -> list[Task]:
  participants = (OWN, "plain_torch", "spikingjelly")
  kinds = ("check", "train", "sr", "pgd")
  return [vgg._replace(kind=kind, libraries=participants) for kind in kinds]


def _gradients(cnn: Task) -> list[Task]:
  kinds = ("summed_gradient", "per_example_gradient", "sparsity")
  return [cnn._replace(row="D", kind=kind) for kind in kinds]


def _starts(cnn: Task) -> list[Task]:
  return [cnn._replace(row="E", kind=kind) for kind in ("train", "sr", "pgd")]


def _growth(cnn: Task, tiny: bool) -> list[Task]:
  base = cnn._replace(row="F", libraries=(OWN, "plain_torch", "spikingjelly"))
  times = (2, 4) if tiny else (4, 8, 16, 32)
  batches = (2, 4) if tiny else (16, 64, 128)
  lengths = (2, 4) if tiny else (5, 10, 20)
  tasks = [base._replace(steps=steps) for steps in times]
  tasks += [base._replace(batch=b) for b in batches if b != base.batch]
  return tasks + [base._replace(kind="pgd", iterations=n) for n in lengths]


def _seeds(cnn: Task, tiny: bool) -> list[Task]:
  base = cnn._replace(row="G", iterations=2 if tiny else 8)
  return [base._replace(kind=k) for k in _SEEDS]


def _ceilings(tiny: bool) -> list[Task]:
  participants = (OWN, "plain_torch")
  size = 64 if tiny else 2048
  return [
    Task("H", kind, "none", iterations=size, libraries=participants)
    for kind in ("sgemm", "copy")
  ]


def _attacks(cnn: Task) -> list[Task]:
  base = cnn._replace(row="I", net="analog", steps=1)
  return [
    base._replace(kind=kind, iterations=count, libraries=(OWN, *peers))
    for kind, (count, peers) in _ANALOG.items()
  ]


def _suites(cnn: Task, tiny: bool) -> list[Task]:
  base = cnn._replace(
    row="J",
    steps=4,
    batch=8 if tiny else 32,
    channels=(4, 4) if tiny else (8, 16),
  )
  return [base._replace(kind=k) for k in ("suite_survivors", "suite_all")]


def _convolutions(tiny: bool) -> list[Task]:
  """Every form at a size of the networks here, Winograd's at its threshold."""
  sizes = (  # side, channels in and out, images
    (28, (1, 16), 64),  # a sum of shifted inputs; of outputs in its gradient
    (14, (16, 32), 512),  # Eigen's
    (16, (64, 64), 64),  # Winograd's
    (8, (128, 128), 64),
  )
  return [
    Task(
      "K",
      f"{form}_{part}",
      "none",
      steps=1,
      batch=2 if tiny else batch,
      side=side,
      channels=channels,
    )
    for side, channels, batch in sizes
    for part in ("forward", "gradients")
    for form in ("own", "lax")
  ]
