"""The study of this project, in three sizes.

    python -m experiments.sparsity_under_attack --workdir=DIR --size=cpu
    python -m experiments.norm_transfer --workdir=DIR --size=cpu

Everything that decides stands here.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from experiments.configs.studies import claims
from experiments.configuration.schema import (
  Config,
  Data,
  Events,
  Hire,
  Image,
  Method,
  Modalities,
  Model,
  Optimizer,
  Train,
)
from experiments.configuration.study import (
  Arm,
  Contrast,
  DataSet,
  Part,
  Protocol,
  Question,
  Step,
  Study,
)

IMAGE, EVENTS, BOTH = ("image",), ("events",), ("image", "events")


def get_config(size: str) -> Study:
  """Returns the study of one size.

  Args:
    size: one of `SIZES`.

  Raises:
    ValueError: it is another.
  """
  sizes = {"smoke": smoke, "cpu": cpu, "full": full}
  if size not in sizes:
    raise ValueError(f"size must be one of {', '.join(sizes)}; got {size!r}")
  return sizes[size]()


_MNIST_RADII: Mapping[str, Mapping[str, Any]] = {
  "image": {
    "linf": (0.14, 0.19, 0.24),
    "l2": (1.6, 2.3, 3.2),
    "l1": (6.8, 11.0, 24.0),
  },
  "events": {
    "linf": (0.039, 0.066, 0.098),
    "l2": (1.6, 3.0, 5.1),
    "l1": (21.0, 40.0, 89.0),
  },
  "image+events": {
    "linf": (0.13, 0.16, 0.21),
    "l2": (1.7, 2.1, 2.9),
    "l1": (7.0, 11.0, 20.0),
    "l0": (7.0, 11.0, 20.0),
  },
}
_SVHN_RADII: Mapping[str, Mapping[str, Any]] = {
  "image": {
    "linf": (0.0038, 0.0086, 0.018),
    "l2": (0.14, 0.3, 0.61),
    "l1": (1.4, 3.4, 8.3),
  },
  "events": {
    "linf": (0.0042, 0.01, 0.022),
    "l2": (0.24, 0.49, 1.0),
    "l1": (3.5, 7.1, 19.0),
  },
  "image+events": {
    "linf": (0.0033, 0.007, 0.015),
    "l2": (0.12, 0.24, 0.55),
    "l1": (1.2, 2.6, 6.7),
    "l0": (4.0, 8.0, 16.0),
  },
}
_NMNIST_RADII: Mapping[str, Mapping[str, Any]] = {
  "image+events": {
    "linf": (0.12, 0.14, 0.19),
    "l2": (1.5, 1.9, 2.7),
    "l1": (5.6, 9.3, 17.0),
  },
}


def _adversarial(*norms: str) -> dict[str, dict[str, Any]]:
  """Keys of adversarial training by data set, at its smallest radii."""
  keys = {"l2": "radius_l2", "l1": "radius_l1"}
  linf = {
    "mnist": {
      "modalities.image.radius": 0.13,
      "modalities.events.radius": 0.13,
    },
    "svhn": {
      "modalities.image.radius": 1.25 / 255,
      "modalities.image.step_size": 1 / 255,
      "modalities.events.radius": 1.25 / 255,
      "modalities.events.step_size": 1 / 255,
    },
  }
  result: dict[str, dict[str, Any]] = {}
  for data, radii in (("mnist", _MNIST_RADII), ("svhn", _SVHN_RADII)):
    result[data] = dict(linf[data]) if "linf" in norms else {}
    for norm in norms:
      if norm in keys:
        smallest = radii["image+events"][norm][0]
        for modality in BOTH:
          result[data][f"modalities.{modality}.{keys[norm]}"] = smallest
  return result


_SR_WEIGHT = {"mnist": 0.03, "svhn": 0.002}
_LINF_STEPS = {
  "modalities.image.step_size": 0.1,
  "modalities.events.step_size": 0.1,
}
# How each network is trained. What the constants of penalties rest on is told
# in docs/questions.md.
_ARMS: Mapping[str, Arm] = {
  "conventional": Arm(about="conventional", keys={"method.name": "vanilla"}),
  "hire": Arm(
    about="crafted noise (HIRE-style)",
    keys={"method.name": "hire", "method.hire.noise": "crafted"},
  ),
  "no_noise": Arm(
    about="as many updates, no noise",
    keys={"method.name": "hire", "method.hire.noise": "off"},
  ),
  "random_noise": Arm(
    about="as many updates, random noise",
    keys={"method.name": "hire", "method.hire.noise": "random"},
  ),
  "sr_weak": Arm(
    about="SR, weak",
    keys={"method.name": "sr", "method.sr.weight": 0.003},
    data_keys={"svhn": {"method.sr.weight": 0.0005}},
  ),
  "sr": Arm(
    about="SR",
    keys={"method.name": "sr", "method.sr.weight": _SR_WEIGHT["mnist"]},
    data_keys={"svhn": {"method.sr.weight": _SR_WEIGHT["svhn"]}},
  ),
  "at_linf": Arm(
    about="adversarial (linf)",
    keys={
      "method.name": "adversarial",
      "method.adversarial.steps": 3,
      **_LINF_STEPS,
    },
    data_keys=_adversarial("linf"),
  ),
  **{
    f"at_{norm}": Arm(
      about=f"adversarial ({norm})",
      keys={
        "method.name": "adversarial",
        "method.adversarial.steps": 3,
        "method.adversarial.norms": (norm,),
      },
      data_keys=_adversarial(norm),
    )
    for norm in ("l2", "l1")
  },
  "at_worst": Arm(
    about="adversarial (worst of linf, l2, l1)",
    keys={
      "method.name": "adversarial",
      "method.adversarial.steps": 3,
      "method.adversarial.norms": ("linf", "l2", "l1"),
      **_LINF_STEPS,
    },
    data_keys=_adversarial("linf", "l2", "l1"),
  ),
  "sr_adversarial": Arm(
    about="SR on adversarial examples",
    keys={
      "method.name": "sr_adversarial",
      "method.adversarial.steps": 1,
      "method.sr.weight": _SR_WEIGHT["mnist"],
    },
    data_keys={
      data: {**keys, "method.sr.weight": _SR_WEIGHT[data]}
      for data, keys in _adversarial("linf").items()
    },
  ),
  # Steps of the finite difference are of equal l2 length: 0.01 at every input.
  **{
    f"sr_{norm}": Arm(
      about=f"SR of the {norm} norm",
      keys={
        "method.name": "sr",
        "method.sr.direction": norm,
        "method.sr.difference": 0.28,
        "method.sr.weight": weights["mnist"],
      },
      data_keys={"svhn": {"method.sr.weight": weights["svhn"]}},
    )
    for norm, weights in (
      ("l2", {"mnist": 6.0, "svhn": 0.4}),
      ("linf", {"mnist": 50.0, "svhn": 3.3}),
    )
  },
  # Of equal size on a network outside of the study: the denser one takes more
  # of SR's penalty.
  **{
    name: Arm(
      about=f"SR, {name} gradients",
      keys={
        "method.name": "sr",
        "method.sr.weight": weights["mnist"],
        "method.sr.participation": participation,
        "method.sr.participation_estimator": "jvp",
      },
      data_keys={"svhn": {"method.sr.weight": weights["svhn"]}},
    )
    for name, participation, weights in (
      ("sparser", 0.3, _SR_WEIGHT),
      ("denser", -0.3, {"mnist": 0.08, "svhn": 0.005}),
    )
  },
}
_TRAINED_RULE = "bptt_triangle"
_CHAIN = (
  Step(kind="pgd", rule=_TRAINED_RULE, loss="cross_entropy"),
  Step(kind="pgd", rule="bptt_atan", loss="margin", steps=10),
  Step(kind="pgd", rule="hart_atan", loss="cross_entropy", steps=10),
  Step(kind="apgd", rule="rga", loss="margin", steps=10),
)
# PGD's steepest l1 step changes one pixel: SLIDE's changes one percent.
_L1_CHAIN = tuple(dataclasses.replace(step, kind="slide") for step in _CHAIN)
_L0_CHAIN = (
  Step(kind="spgd", rule=_TRAINED_RULE, loss="cross_entropy"),
  Step(kind="spgd_unprojected", rule="bptt_atan", loss="margin"),
  Step(kind="spgd", rule="rga", loss="margin", steps=10),
)
_RESTARTED = (
  Step(
    kind="apgd", rule=_TRAINED_RULE, loss="cross_entropy", steps=40, restarts=5
  ),
  Step(kind="apgd_t", rule=_TRAINED_RULE, loss="targeted_margin", steps=40),
  Step(kind="square", rule=_TRAINED_RULE, steps=1000),
)
_STRONGER = {
  "linf": _RESTARTED,
  "l2": _RESTARTED,
  # Auto-PGD chooses how many sites to change; SLIDE does not.
  "l1": _RESTARTED,
  "l0": (
    Step(kind="spgd", rule=_TRAINED_RULE, loss="margin", steps=40, restarts=5),
    Step(kind="sparse_rs", rule=_TRAINED_RULE, steps=1000),
  ),
}
_CPU_PROTOCOL = Protocol(
  examples=500,
  microbatch=100,
  norms=("linf", "l2", "l1"),
  chains={"linf": _CHAIN, "l2": _CHAIN, "l1": _L1_CHAIN, "l0": _L0_CHAIN},
  level=1,
  rules=(_TRAINED_RULE, "bptt_atan", "hart_atan"),
  along=60,
  random_draws=10,
  scales=(0.125, 1.0),
  transfer_examples=250,
  transfer_norms=("linf", "l2", "l1", "l0"),
  stronger_examples=100,
  stronger=_STRONGER,
)


def _base(epochs: int, channels: tuple[int, ...], steps: int = 4) -> Config:
  return Config(
    data=Data(validation=0.0),
    modalities=Modalities(
      image=Image(channels=channels, radius=0.1, step_size=0.05),
      events=Events(channels=channels, shrink=2, radius=0.1, step_size=0.05),
    ),
    model=Model(steps=steps, rule=_TRAINED_RULE),
    method=Method(hire=Hire(periods=2)),
    optimizer=Optimizer(learning_rate=3e-3),
    train=Train(epochs=epochs),
  )


# What crafted noise does to gradients, against as many updates without it.
_sparser = functools.partial(
  Contrast,
  treated="hire",
  control="no_noise",
  unit="in log participation ratio",
  alternative="less",
  smallest_effect=0.05,
)
_SPARSITY = Question(
  text=(
    "Do multimodal spiking networks trained with crafted input noise keep "
    "sparser input gradients under attack than conventionally trained ones?"
  ),
  arms={
    "conventional": 8,
    "hire": 8,
    "no_noise": 8,
    "random_noise": 5,
    "sr_weak": 5,
    "sr": 5,
    "at_linf": 5,
  },
  modalities=(BOTH, IMAGE, EVENTS),
  data=("mnist", "svhn"),
  measurements=("gradients",),
  contrasts=(
    _sparser(
      name="crafted noise against none",
      claim="crafted noise leaves sparser gradients at adversarial inputs "
      "than the same updates without noise",
      measure="mean/margin/linf/own/whole/log_participation_ratio",
    ),
    Contrast(
      name="crafted noise against conventional training",
      claim="crafted noise leaves sparser gradients at adversarial inputs "
      "than conventional training, which makes half as many updates",
      treated="hire",
      control="conventional",
      measure="mean/margin/linf/own/whole/log_participation_ratio",
      unit="in log participation ratio",
      alternative="less",
      smallest_effect=0.05,
      decides=False,
    ),
    # Written down after the first networks were seen: they decide nothing.
    *(
      _sparser(
        name=f"crafted noise against none, {point}",
        claim=f"crafted noise leaves sparser gradients {place} than the same "
        "updates without noise",
        measure=f"mean/margin/{point}/own/whole/log_participation_ratio",
        decides=False,
      )
      for point, place in (
        ("clean", "at clean inputs"),
        ("l2", "at l2-adversarial inputs"),
        ("l1", "at l1-adversarial inputs"),
      )
    ),
    Contrast(
      name="what crafted noise loses under linf",
      claim="from clean to linf-adversarial inputs the gradient grows denser "
      "by more with crafted noise than without, example by example",
      treated="hire",
      control="no_noise",
      measure="change/margin/linf/own/whole/log_participation_ratio",
      unit="in log participation ratio",
      alternative="greater",
      smallest_effect=0.05,
      decides=False,
    ),
    # The ratio of both falls where one of them goes unheard.
    *(
      _sparser(
        name=f"crafted noise against none, {part} alone",
        claim=f"crafted noise leaves sparser gradients of the {part} at "
        "adversarial inputs than the same updates without noise",
        measure=f"mean/margin/linf/own/{part}/log_participation_ratio",
        decides=False,
        modalities=(BOTH,),
      )
      for part in BOTH
    ),
  ),
  alpha=0.05,
  deciding=(BOTH,),
  # Recordings of a camera, where the others' events are simulated: the arms of
  # the contrast that decides. Added after the first networks were seen.
  beside={
    "nmnist": Part(
      arms={"conventional": 8, "hire": 8, "no_noise": 8}, modalities=(BOTH,)
    )
  },
)


# Accuracies of 250 examples, a mean over three radii of a norm.
_POINTS = "of accuracy"
_SIZE = "mean/margin/clean/own/whole/log_l1"  # of the margin's gradient
_keeps_more = functools.partial(
  Contrast, unit=_POINTS, alternative="greater", smallest_effect=0.02
)
_TRANSFER = Question(
  text=(
    "Does sparse-gradient training make robustness transfer across "
    "perturbation norms on multimodal data?"
  ),
  arms={
    "conventional": 8,
    "sr": 8,
    "at_linf": 8,
    "sparser": 8,
    "denser": 8,
    "sr_l2": 5,
    "sr_linf": 5,
    "sr_adversarial": 5,
    "at_l2": 5,
    "at_l1": 5,
    "at_worst": 5,
  },
  modalities=(BOTH,),
  data=("mnist", "svhn"),
  measurements=("gradients", "transfer"),
  # Three things decide. Does SR, whose penalty is the dual of linf, help
  # against the other norms at all? Does it help there more than as much linf
  # robustness by adversarial training does? And is it its sparsity: at equal
  # gradient size theory expects the *denser* gradient to transfer, see
  # docs/theory.md, section 6. Two points are what another 250 examples of the
  # same network may differ by.
  contrasts=(
    *(
      _keeps_more(
        name=f"SR against conventional training under {norm}",
        claim=f"SR makes robustness transfer to {norm}",
        treated="sr",
        control="conventional",
        measure=f"transfer/{norm}/mean",
      )
      for norm in ("l2", "l1", "l0")
    ),
    Contrast(
      name="SR against adversarial training at equal linf robustness",
      claim="at equal robustness to linf, SR keeps less under l2, l1 and l0 "
      "than adversarial training for linf",
      treated="sr",
      control="at_linf",
      measure="transfer/rest/mean",
      unit=_POINTS,
      alternative="less",
      smallest_effect=0.02,
      matched="transfer/linf/mean",
      along=("conventional", "at_linf"),
    ),
    _keeps_more(
      name="denser against sparser gradients at equal size",
      claim="of gradients of equal size the denser ones keep more under l2, "
      "l1 and l0",
      treated="denser",
      control="sparser",
      measure="transfer/rest/mean",
      matched=_SIZE,
      along=("conventional", "sr"),
    ),
    # Beside, by norm: theory expects no difference under linf.
    *(
      _keeps_more(
        name=f"denser against sparser gradients at equal size under {norm}",
        claim=f"of gradients of equal size the denser ones keep more under "
        f"{norm}",
        treated="denser",
        control="sparser",
        measure=f"transfer/{norm}/mean",
        decides=False,
        matched=_SIZE,
        along=("conventional", "sr"),
      )
      for norm in ("linf", "l2", "l1", "l0")
    ),
    _keeps_more(
      name="SR against conventional training under linf",
      claim="SR makes networks robust to linf",
      treated="sr",
      control="conventional",
      measure="transfer/linf/mean",
      decides=False,
    ),
    *(
      _keeps_more(
        name=f"SR against {words} under the union of norms",
        claim=f"SR withstands all norms at once better than {words}",
        treated="sr",
        control=arm,
        measure="union/mean",
        decides=False,
      )
      for arm, words in (
        ("conventional", "conventional training"),
        ("at_worst", "adversarial training for the worst norm"),
      )
    ),
    # After the first networks lost under l1 what theory has them gain: is it
    # the attacks that fail? At the middle radius, on fewer examples.
    *(
      _keeps_more(
        name=f"denser against sparser gradients under stronger {norm} attacks",
        claim="of gradients of equal size the denser ones keep more under "
        f"{norm} attacks with restarts and without a gradient",
        treated="denser",
        control="sparser",
        measure=f"stronger/{norm}",
        decides=False,
        matched=_SIZE,
        along=("conventional", "sr"),
      )
      for norm in ("l2", "l1")
    ),
    *(
      _keeps_more(
        name=f"SR against conventional training under stronger {norm} attacks",
        claim=f"SR makes robustness transfer to {norm}, also against attacks "
        "with restarts and without a gradient",
        treated="sr",
        control="conventional",
        measure=f"stronger/{norm}",
        decides=False,
      )
      for norm in ("l2", "l1", "l0")
    ),
    # Written down after 67 networks: what is left of two modalities.
    *(
      Contrast(
        name=f"{words}: what is heard of the events",
        claim=f"{words} leaves smaller gradients of the events than "
        "conventional training",
        treated=arm,
        control="conventional",
        measure="mean/margin/clean/own/events/log_l1",
        unit="in log ||g||_1",
        alternative="less",
        smallest_effect=1.0,
        decides=False,
        modalities=(BOTH,),
      )
      for arm, words in (
        ("sr", "SR"),
        ("at_linf", "adversarial training (linf)"),
      )
    ),
  ),
  alpha=0.05,
  deciding=(BOTH,),
  stronger={
    "conventional": 8,
    "sr": 8,
    "at_linf": 3,
    "sparser": 5,
    "denser": 5,
  },
)


def smoke() -> Study:
  """Returns what shows in a minute that everything runs; it answers nothing.

  The data set is the embedded one, the networks have seen next to nothing.
  """
  full_size = cpu()
  few = {
    "sparsity_under_attack": ("conventional", "hire", "no_noise"),
    "norm_transfer": ("conventional", "sr", "at_linf"),
  }
  chains = {
    norm: tuple(
      dataclasses.replace(step, steps=2)
      for step in chain[: 2 if norm == "linf" else 1]
    )
    for norm, chain in full_size.protocol.chains.items()
  }
  return dataclasses.replace(
    full_size,
    size="smoke",
    base=_base(1, (2, 4), steps=2),  # quick to compile
    data={
      "digits": DataSet(
        about="embedded MNIST digits, simulated events",
        keys={"data.name": "digits", "data.train_examples": 256},
        radii=_MNIST_RADII,
      )
    },
    protocol=dataclasses.replace(
      full_size.protocol,
      examples=32,
      microbatch=32,
      norms=("linf",),
      chains=chains,
      rules=full_size.protocol.rules[:2],
      along=16,
      random_draws=2,
      scales=(1.0,),
      transfer_examples=16,
      stronger_examples=8,
      stronger={"l1": (Step(kind="square", rule=_TRAINED_RULE, steps=4),)},
    ),
    questions={
      name: dataclasses.replace(
        question,
        arms=dict.fromkeys(few[name], 2),
        modalities=(BOTH,),
        data=("digits",),
        beside={},
        stronger={"sr": 1} if question.stronger else {},
        # The others ask of norms that this size leaves out.
        contrasts=(
          question.contrasts[:2]
          if name == "sparsity_under_attack"
          else tuple(
            contrast
            for contrast in question.contrasts
            if not contrast.measure.startswith("stronger/")
            or contrast.measure == "stronger/l1"
          )
        ),
      )
      for name, question in full_size.questions.items()
    },
  )


def cpu() -> Study:
  """Returns what two cores can do in hours."""
  return Study(
    size="cpu",
    base=_base(3, (8, 16)),
    arms=_ARMS,
    data={
      "mnist": DataSet(
        about="MNIST, 10,000 training examples, simulated events",
        keys={"data.name": "mnist", "data.train_examples": 10_000},
        radii=_MNIST_RADII,
      ),
      "svhn": DataSet(
        about=(
          "SVHN, the first 4,434 training digits of 73,257, cropped again from "
          "the full numbers, simulated events of the luminance"
        ),
        keys={
          "data.name": "svhn_cropped",
          "train.epochs": 8,
          "optimizer.learning_rate": 5e-3,
          "modalities.image.standardize.mean": (0.45, 0.45, 0.47),
          "modalities.image.standardize.std": (0.2, 0.2, 0.2),
          "modalities.events.standardize.mean": (0.14, 0.14),
          "modalities.events.standardize.std": (0.3, 0.3),
          "modalities.image.radius": 1 / 255,
          "modalities.image.step_size": 0.5 / 255,
          "modalities.events.radius": 1 / 255,
          "modalities.events.step_size": 0.5 / 255,
        },
        radii=_SVHN_RADII,
      ),
      # 16 steps an epoch: about as many in all as of MNIST.
      "nmnist": DataSet(
        about=(
          "N-MNIST, recordings of the first 1,000 training digits of 60,000 "
          "and the first 100 test digits of 10,000, with MNIST's images"
        ),
        keys={"data.name": "nmnist", "train.epochs": 30},
        radii=_NMNIST_RADII,
        test_examples=100,
      ),
    },
    protocol=_CPU_PROTOCOL,
    questions={
      "sparsity_under_attack": _SPARSITY,
      "norm_transfer": _TRANSFER,
    },
    claims=claims.CLAIMS,
  )


_WIDE = (64, 128, 256, 512)


def full() -> Study:
  """Returns what takes an accelerator: all data, networks of the papers' size.

  Nobody has run it. Radii and weights are those of the small networks, until
  `experiments.calibrate_study` chooses them for these.
  """
  small = cpu()
  base = Config(
    data=Data(validation=0.0),
    modalities=Modalities(
      image=Image(channels=_WIDE, radius=0.1, step_size=0.05),
      events=Events(channels=_WIDE, radius=0.1, step_size=0.05),
    ),
    # A branch for each modality, of VGG-11's widths: its second and third
    # convolutions between two pools are left out.
    model=Model(steps=8, norm=True, hidden=(4096, 4096), rule=_TRAINED_RULE),
    method=Method(hire=Hire(periods=2)),
    optimizer=Optimizer(kind="sgd", learning_rate=0.1, weight_decay=5e-4),
    train=Train(batch_size=128),
  )
  whole = {
    "mnist": ("MNIST, simulated events", 60_000),
    "svhn": ("SVHN, simulated events of the luminance", 73_257),
    "nmnist": ("N-MNIST's recordings with MNIST's images", 60_000),
  }
  data = {
    name: dataclasses.replace(
      small.data[name],
      about=about,
      keys={
        **small.data[name].keys,
        "data.train_examples": count,
        "train.epochs": 100,
      },
      test_examples=None,
    )
    for name, (about, count) in whole.items()
  }
  chains = {
    norm: tuple(
      dataclasses.replace(step, steps=5 * step.steps) for step in chain
    )
    for norm, chain in small.protocol.chains.items()
  }
  return dataclasses.replace(
    small,
    size="full",
    base=base,
    data=data,
    protocol=dataclasses.replace(
      small.protocol,
      examples=1000,
      microbatch=250,
      chains=chains,
      along=250,
      random_draws=20,
      transfer_examples=1000,
      stronger_examples=500,
    ),
  )
