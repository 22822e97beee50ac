"""What a lineage names trainings with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tl_robust.data.mapped import DomainInSpace
from tl_robust.defenses import DEFENSES, build
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.nodes.isolation import isolated
from tl_robust.nodes.members import Members, Soup
from tl_robust.nodes.models import Model, Public
from tl_robust.nodes.training import Training
from tl_robust.registry import Component, Scalar
from tl_robust.strategies import trained_by
from tl_robust.types import Recipe


@dataclass(frozen=True)
class Forest:
    """Names trainings of one network, seed, strategy, defense and set of Trainer options; the ``train`` of a lineage.

    Attributes:
        network: Network with settings.
        recipe: Recipe of a domain by its name.
        seed: Seed.
        own: The cell's strategy with its settings.
        trainer: Options of the Lightning Trainer that can change weights.
        defenses: What changes the training of a domain, by its name.
        checkpoint: The checkpoint of a name in the space of the pair; raises UnknownNameError where there is none.
    """

    network: Component
    recipe: Callable[[str], Recipe]
    seed: int
    own: Component
    trainer: Mapping[str, Scalar] = field(default_factory=dict)
    defenses: Mapping[str, tuple[Component, ...]] = field(default_factory=dict)
    checkpoint: Callable[[str], Public] | None = None

    def published(self, name: str) -> Model:
        """A checkpoint of the bench by its name.

        Raises:
            UnknownNameError: The bench has none of that name.
        """
        if self.checkpoint is None:
            raise UnknownNameError("checkpoint (declare it under checkpoints:)", name, ())
        return self.checkpoint(name)

    def __call__(
        self,
        domain: DomainInSpace | Public,
        parent: Model | None = None,
        by: str | Component | None = None,
        defense: Component | None = None,
        salt: str = "",
        others: Mapping[str, Model] | None = None,
    ) -> Model:
        """The training of ``domain`` from ``parent``; a public checkpoint is the model itself.

        Raises:
            ConfigError: The strategy would train a checkpoint.
        """
        if isinstance(domain, Public):
            if parent is not None:
                raise ConfigError(
                    f"{domain} is trained already, and this strategy would train it again from {parent.title}: "
                    "use it as the source of scratch or finetune, or under axes.common."
                )
            if isinstance(by, Component) or salt:
                raise ConfigError(
                    f"{domain} is trained already, and strategy {self.own} would train it in its own way."
                )
            return domain
        defenses = (defense,) if defense else self.defenses.get(domain.domain, ())
        by, options = trained_by(self.own, by, root=parent is None), tuple(sorted(self.trainer.items()))
        recipe, asked = self.recipe(domain.domain), tuple(sorted((others or {}).items()))
        training = Training(domain, self.network, recipe, self.seed, by, parent, options, salt, (), asked)
        known = {"undefended": training, "parent": parent, "start": parent}
        for part in defenses:
            if DEFENSES[part.name].INHERITS and parent is None:
                raise ConfigError(
                    f"defense {part} changes what {training} starts from, and that is random weights already: leave "
                    "it out, or take a strategy whose B has a parent, such as finetune."
                )
            for name in build([part]).asks:
                whose, _, epoch = name.partition("@")
                if not (model := known[whose]):
                    raise ConfigError(f"defense {part} asks the {name} of {training}, and there is none.")
                if whose == "parent" and not training.same_labels:
                    raise ConfigError(f"defense {part} asks the parent of {training}, which knows other classes.")
                asked = (*asked, (name, model.at(int(epoch)) if epoch else model))
        return replace(training, defense=defenses, others=tuple(sorted(set(asked)))) if defenses else training

    def together(self, models: Sequence[Model], fuse: str = "logits") -> Model:
        """A model that gives the mean of the ``logits`` or of the ``probabilities`` of several."""
        return Members(tuple(models), fuse)

    def isolated(self, model: Model) -> Model:
        """The same model, where what it starts from is a further draw that no attacker has."""
        return isolated(model)

    def soup(self, models: Sequence[Model]) -> Model:
        """A model with the mean weights of several, and BatchNorm statistics anew."""
        return Soup(tuple(models))
