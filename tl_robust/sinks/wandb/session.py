"""Weights & Biases as this package uses it: where runs go, in which mode, and one quiet service for all of them."""

from __future__ import annotations

import configparser
import contextlib
import netrc
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tl_robust.errors import ConfigError
from tl_robust.files import scratch_folder

MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "run": "online", "dryrun": "offline"}
ON = ("silent", "disable_git", "sagemaker_disable", "x_disable_stats", "x_disable_machine_info")
OFF = ("use_dot_wandb", "symlink", "save_code", "x_save_requirements")
QUIET = {**dict.fromkeys(ON, True), **dict.fromkeys(OFF, False), "console": "off", "init_timeout": 30}
KEPT = ("API_KEY", "IDENTITY_TOKEN_FILE", "BASE_URL", "ENTITY", "CONFIG_DIR", "INSECURE_DISABLE_SSL")
NO_KEY = "W&B finds no API key: run `wandb login`, set WANDB_API_KEY or use wandb.mode=offline."


@dataclass(frozen=True)
class WandbSettings:
    """Where and how runs are published.

    Attributes:
        project: W&B project that the runs go to.
        entity: User or team that owns the project; empty for the account's default.
        mode: ``online``, ``offline`` or ``disabled``; ``auto`` is online only where an API key is found.
        sweep: Id of the W&B sweep of which a run of the bench is a trial; empty for none. The file that ``tl-robust
            dashboard sweep`` prints sets it.
        share: ``all``, or ``numbers`` for runs without weights, pictures and the report page that shows images.
    """

    project: str = "tl_robust"
    entity: str = ""
    mode: str = "auto"
    sweep: str = ""
    share: str = "all"

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "online", "offline", "disabled"):
            raise ConfigError(f"wandb.mode must be auto, online, offline or disabled, got {self.mode!r}.")
        if not 0 < len(self.project) <= 128 or set(self.project) & set("/\\#?%:"):
            raise ConfigError(f"wandb.project must be 1 to 128 characters without / \\ # ? % :, got {self.project!r}.")
        if self.share not in ("all", "numbers"):
            raise ConfigError(f"wandb.share must be all or numbers, got {self.share!r}.")
        if not re.fullmatch(r"[\w-]{0,64}", self.sweep, re.ASCII):
            raise ConfigError(f"wandb.sweep must be the id of a sweep (letters, digits, - and _), got {self.sweep!r}.")


def resolve_mode(settings: WandbSettings) -> str:
    """The mode that will be used: ``WANDB_MODE`` wins, then the setting, then what ``wandb offline`` saved.

    Reads the environment and files only: no prompt, no network.

    Raises:
        ConfigError: ``WANDB_MODE`` is unknown, or the mode is online and no API key is found.
    """
    mode = os.environ.get("WANDB_MODE") or settings.mode
    if mode not in (*MODES, "auto"):
        raise ConfigError(f"WANDB_MODE must be online, offline or disabled, got {mode!r}.")
    saved, key_found = account()
    wanted = MODES.get(saved, "online") if mode == "auto" else MODES[mode]
    if wanted == "online" and not key_found and mode != "auto":
        raise ConfigError(NO_KEY)
    return "offline" if wanted == "online" and not key_found else wanted


def account() -> tuple[str, bool]:
    """The mode in W&B's settings file, empty if none, and whether an API key is found."""
    environ, has_key = os.environ, False
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        hosts = netrc.netrc(Path(environ.get("NETRC", "~/.netrc")).expanduser()).hosts
        has_key = urlsplit(server()).netloc in hosts
    key = environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE")
    return _saved().get("mode", ""), has_key or bool(key)


def default_entity() -> str:
    """User or team of the account, as the W&B server says."""
    import wandb

    return str(wandb.Api().default_entity)


def server() -> str:
    """The address of the W&B server."""
    return os.environ.get("WANDB_BASE_URL") or _saved().get("base_url", "https://api.wandb.ai")


def _saved() -> dict[str, str]:
    file = configparser.ConfigParser(default_section="default", interpolation=None)
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        file.read(Path(os.environ.get("WANDB_CONFIG_DIR", "~/.config/wandb")).expanduser() / "settings")
    return dict(file.defaults())


@contextlib.contextmanager
def environment() -> Iterator[Path]:
    """No W&B variables of other programs, and its cache in a folder that goes afterwards, which is given.

    A sweep's or a parent's run id, or a resume mode, would rename or merge our runs.
    """
    before = dict(os.environ)
    with scratch_folder("tl_robust_wandb_") as scratch:
        for name in before:
            if name.startswith("WANDB_") and name.removeprefix("WANDB_") not in KEPT:
                del os.environ[name]
        ours = {"WANDB_CACHE_DIR": str(scratch), "WANDB_DATA_DIR": str(scratch), "WANDB_ERROR_REPORTING": "false"}
        os.environ |= ours
        try:
            yield scratch
        finally:
            for name in ours:
                os.environ.pop(name, None)
            os.environ.update(before)


@contextlib.contextmanager
def session() -> Iterator[Callable[..., Any]]:
    """Gives a ``wandb.init`` with one service for all runs, a silent terminal and no variables of other programs.

    Its first argument is the id of the sweep of which the run is a trial, empty where it is none.
    """
    import wandb

    usual = {**QUIET, "finish_timeout": 120, "finish_timeout_raises": True}
    settings = wandb.Settings.model_validate(usual)

    def start(sweep: str = "", **run: Any) -> Any:
        own = wandb.Settings.model_validate({**usual, "sweep_id": sweep}) if sweep else settings
        return wandb.init(reinit="create_new", settings=own, **run)  # else init gives the first run

    alone = wandb.run is None
    with environment():
        try:
            if alone:
                wandb.setup(settings)
            yield start
        finally:
            if alone:  # else the caller's own run goes on with this service
                with contextlib.suppress(Exception, SystemExit):  # what a failed service lost is found by the check
                    wandb.teardown()
