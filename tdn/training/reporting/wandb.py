"""Weights & Biases, for those who have an account there: the curves of TensorBoard, on a server.

The package is an extra, ``pip install -e '.[wandb]'``. Its own settings hold: ``wandb login`` once,
or WANDB_MODE=offline, after which ``wandb sync`` uploads what is in <output>/wandb.
"""

from __future__ import annotations

import importlib
import logging
import uuid
from typing import Any

from tdn.config import Config
from tdn.config_loading import config_to_dict
from tdn.errors import UserError
from tdn.training.reporting.sinks import Event
from tdn.training.saving.run_folder import RunFolder

_log = logging.getLogger(__name__)

_OFFLINE = "set WANDB_MODE=offline to keep the curves in the run folder"
_FINISH = 60
"""Seconds that the end of a run waits for an upload."""


def check_wandb(project: str) -> None:
    """Refuse to start where ``logging.wandb`` cannot work; an empty project is not asked for.

    Raises:
        UserError: The package is missing, or nobody is logged in.
    """
    if not project:
        return
    wandb = _package()
    if wandb.setup().settings.mode in ("offline", "disabled"):
        return
    try:
        logged_in = wandb.login(prompt=False)
    except wandb.Error as error:
        raise _refused(error) from None
    if not logged_in:
        raise UserError(
            "logging.wandb: nobody is logged in to Weights & Biases here; run 'wandb login', or "
            f"{_OFFLINE}"
        )


class WandB:
    """A run there: every number of train and validation events as a curve over steps.

    A resumed run goes on in the same one, whose name is kept in the run folder. Steps that are
    repeated after a crash are there twice, with the same values.

    Args:
        folder: Of the run.
        config: Shown there; ``logging.wandb`` says where.

    Raises:
        UserError: It cannot be begun.
    """

    def __init__(self, folder: RunFolder, config: Config) -> None:
        wandb = _package()
        entity, _, project = config.logging.wandb.rpartition("/")
        known = folder.wandb_run
        name = known.read_text().strip() if known.exists() else uuid.uuid4().hex[:8]
        try:
            self._run = wandb.init(
                project=project,
                entity=entity or None,
                id=name,
                name=folder.root.absolute().name,
                resume="allow",
                dir=str(folder.root),
                config=config_to_dict(config),
                allow_val_change=True,
                settings=wandb.Settings(finish_timeout=_FINISH),
            )
        except wandb.Error as error:
            raise _refused(error) from None
        known.write_text(f"{name}\n")
        for kind in ("train", "validation"):
            self._run.define_metric(f"{kind}/*", step_metric="step")
        self._failed = False
        self._ended = False

    def write(self, event: Event) -> None:
        """Send the event's numbers; if that fails, the run goes on without."""
        self._ended = self._ended or event["event"] == "end"
        if self._failed:
            return
        try:
            self._send(event)
        except Exception as error:
            self._failed = True
            _log.warning("logging.wandb: %s; log.jsonl goes on", _first_line(error))

    def _send(self, event: Event) -> None:
        kind = event["event"]
        if kind == "start":
            self._run.config.update({"run": event}, allow_val_change=True)
        elif kind == "end":
            kept = ("completed", "step", "top1", "top5", "best_top1")
            self._run.summary.update({key: event[key] for key in kept})
        elif kind in ("train", "validation"):
            curves = {
                f"{kind}/{key}": value
                for key, value in event.items()
                if isinstance(value, float) and key != "time"
            }
            self._run.log(curves | {"step": event["step"], "epoch": event["epoch"]})

    def advance(self) -> None:
        """Steps are not drawn one by one."""

    def sync(self) -> None:
        """Nothing: the record on the disk is log.jsonl."""

    def close(self) -> None:
        """Upload what is left; a run that came to no end has failed."""
        try:
            self._run.finish(exit_code=0 if self._ended else 1)
        except Exception as error:
            _log.warning("logging.wandb: %s; 'wandb sync' uploads the rest", _first_line(error))


def _package() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise UserError(
            f"logging.wandb: the package cannot be imported ({error}); pip install -e '.[wandb]', "
            "or leave the key out"
        ) from None


def _refused(error: Exception) -> UserError:
    return UserError(
        f"logging.wandb: {_first_line(error)}; correct the project or the login, or {_OFFLINE}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
