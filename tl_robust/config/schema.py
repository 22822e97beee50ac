"""What may stand in a bench file, with its defaults; what a profile adds stands in ``profiles/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tl_robust.config.written import Label
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.types import Recipe

MISSING: Any = "???"  # OmegaConf's mark of a key that must be given
ORIGIN = {"from": str, "classes": list[Label]}  # texts of an entry of domains: or checkpoints:


@dataclass
class AxesFile:
    """The ``axes:`` of a bench file; an entry with settings is a mapping: ``{name: pgd, steps: 20}``.

    Attributes:
        pair: ``source-target``, ``checkpoint:NAME-target``, or a registered pair; ``space`` among the settings replaces
            the bench's.
        network: Networks; a checkpoint brings its own.
        strategy: Strategies, for example ``{name: finetune, mode: probe}``.
        common: Common domains or checkpoints, for the strategies that have one.
        defense: Defenses, for example ``{name: squeeze, bits: 3}``, or ``none``; ``a + b`` is both.
        attack: Attacks and backdoors; ``eps`` (of a backdoor ``epochs``) among the settings replaces the bench's.
        view: ``white`` (A is B), ``black`` (crafted on A, judged on B); a backdoor's own setting ``into`` is its view.
        seed: Seeds of training and attack.
        target_images: Labeled target images that B learns from: up to 1 a share of them, above 1 a number.
    """

    pair: list[Any] = MISSING
    network: list[Any] = field(default_factory=lambda: ["dtn"])
    strategy: list[Any] = MISSING
    common: list[str] = field(default_factory=list)
    defense: list[Any] = field(default_factory=lambda: ["none"])
    attack: list[Any] = MISSING
    view: list[str] = field(default_factory=lambda: ["white", "black"])
    seed: list[int] = field(default_factory=lambda: [0])
    target_images: list[float] = field(default_factory=lambda: [1.0])


@dataclass
class DataFile:
    """The ``data:`` of a bench file; see :class:`tl_robust.data.domain.DataSettings`."""

    root: str = "data"
    download: bool = False
    train_limit: int = 0
    test_limit: int = 0
    cache: str = "results/cache"


@dataclass
class BenchFile:
    """A bench file.

    Attributes:
        name: Name of the bench and of its results folder.
        profile: ``default``, or ``kdd20`` for the protocol of the paper's code; the file's own keys come first.
        space: Space of the pairs; a mapping where it has settings.
        eps: Sizes; ``8/255`` may be written. Attacks of evasion need some.
        epochs: Epochs of B's training after which a backdoor is looked for, from 0; where none are given 0, 1, 2, 4 and
            so on to the last.
        pairs: Pairs of models that learn complementary halves, for all membership inferences at once; 0: each has its
            own setting ``pairs``.
        axes: The grid.
        domains: Names for generic domains: ``photos: {from: npz:photos, classes: [cat, dog]}``; ``classes`` may be a
            text file under ``data.root`` with one name a line.
        checkpoints: Public models: ``net: {from: FILE, network: NETWORK, classes: CLASSES}``; ``from`` may name
            torchvision weights; ``classes`` as above, or their number, or the name of a space. Of a folder of timm or
            transformers, ``net: {from: FOLDER}`` is enough; ``adapter: FOLDER`` is a LoRA adapter of peft.
        eps_scale: ``pixel``: eps are in [0,1] pixel units; ``kdd20``: for inputs in [-1,1], as in the paper's code.
        data: Where data lie and how much is used.
        recipe: Recipe of trainings.
        recipes: Fields of the recipe that differ for a domain.
        attack_batch: Images an attack works on at a time; 0 measures which size is fastest.
        fast: Fast modes of attacks, of ``fold``, ``subpixel``, ``bf16``, ``channels_last``, ``compile``; each craft
            group is checked against full precision, and falls back to it.
        engine: Who computes: ``processes`` of this machine, ``local`` (this one alone), ``ray`` (a cluster); a mapping
            where it has settings.
        workers: Processes of a machine that share the work; 0 is one a CPU core, and with a CUDA device as many as its
            free memory holds where networks are small (both at most 4).
        trainer: Options of the Lightning Trainer (accelerator, devices, precision, strategy, ...).
        wandb: Weights & Biases.
        plugins: Folders of plugin files, relative to the bench file.
        results: Folder of results.
    """

    name: str = MISSING
    profile: str = "default"
    space: Any = "digits"
    eps: list[Any] = field(default_factory=list)
    epochs: list[Any] = field(default_factory=list)
    pairs: int = 0
    axes: AxesFile = field(default_factory=AxesFile)
    domains: dict[str, Any] = field(default_factory=dict, metadata={"entries": ORIGIN})
    checkpoints: dict[str, Any] = field(default_factory=dict, metadata={"entries": ORIGIN})
    eps_scale: str = "pixel"
    data: DataFile = field(default_factory=DataFile)
    recipe: Recipe = field(default_factory=Recipe)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    attack_batch: int = 250
    fast: list[str] = field(default_factory=list)
    engine: Any = "processes"
    workers: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)
    wandb: WandbSettings = field(default_factory=WandbSettings)
    plugins: list[str] = field(default_factory=list)
    results: str = "results"
