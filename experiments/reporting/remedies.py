"""What to run when an alarm fires: a command of this program for each check.

RUN stands for the run's folder, NEW for another one. An evaluation has a
folder of its own for each configuration: a command adds to what is there.
"""

from collections.abc import Iterable, Mapping

from snnjax.checks import Alarm

_RULES = "bptt_triangle,bptt_atan,bptt_sigmoid,rga,hart_atan,assg_atan"
_EVALUATE = ("evaluate", "--workdir=RUN")
_TRAIN = ("train", "--workdir=NEW")
_FULL = (*_EVALUATE, "--suite=full")
_STANDARD = (*_EVALUATE, "--suite=standard")
_MORE_STEPS = (*_EVALUATE, "--config.evaluation.steps=200")
_MORE_RULES = (*_STANDARD, f"--config.evaluation.rules={_RULES}")
_ALL_EXAMPLES = (*_EVALUATE, "--config.evaluation.examples=0")
_HELD_OUT = (
  *_TRAIN,
  "--config.data.validation=0.1",
  "--config.train.select=validation",
)
_ANEW = (
  "prepare_data",
  "--source=SOURCE",
  "--name=NAME",
  "--overwrite",
)

COMMANDS: Mapping[str, tuple[str, ...]] = {
  "Outputs outside ball or box, or not finite": _STANDARD,
  "One class alone": _ANEW,
  "Tuned on the reported examples": _HELD_OUT,
  "Normalisation statistics changed": (*_TRAIN, "--config.model.norm=false"),
  "Evaluated below float32": (
    *_EVALUATE,
    "--config.evaluation.precision=float32",
  ),
  "A gradient-free attack beats the white box": _FULL,
  "One step beats many": _MORE_STEPS,
  "Gradients are exactly zero": _MORE_RULES,
  "One rule alone is much weaker than all": _MORE_RULES,
  "The gradient points elsewhere": _FULL,
  "Accuracy survives any epsilon": _FULL,
  "Accuracy rises with epsilon": _MORE_STEPS,
  "Classes are missing": _ALL_EXAMPLES,
  "The attack has not converged": _MORE_STEPS,
  "Too few restarts": _FULL,
  "Losses disagree": _STANDARD,
  "Too few draws": _FULL,
  "The batch matters": (*_EVALUATE, "--config.evaluation.microbatch=1"),
  "Two forward passes differ": _FULL,
  "The attack's claims are contradicted": _STANDARD,
}


def command(words: tuple[str, ...]) -> str:
  """Returns a command as a shell takes it."""
  return " ".join(("python -m", f"experiments.{words[0]}", *words[1:]))


def add_commands(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
  """Returns alarms whose remedies end with a command, in their order."""
  return tuple(
    alarm._replace(
      remedy=f"{alarm.remedy} Run: {command(COMMANDS[alarm.name])}"
    )
    for alarm in alarms
  )
