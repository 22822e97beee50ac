"""Bench files: profiles as layers, spaces, declared domains and checkpoints, and the benches of this repository."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tl_robust.config import Config, load, load_settings
from tl_robust.data.domain import Declared
from tl_robust.engines.ray import Ray
from tl_robust.errors import ConfigError, DataError, InputError, UnknownNameError
from tl_robust.registry import Component
from tl_robust.types import Recipe

ROOT = Path(__file__).parents[1]
BENCHES = sorted((ROOT / "experiments").glob("*.yaml"))
SMALL = """
name: small
axes: {pair: [mnist-usps], strategy: [scratch]}
trainer: {accelerator: cpu}
"""


def read(*overrides: str, more: str = "") -> Config:
    Path("small.yaml").write_text(SMALL + more)
    return load(Path("small.yaml"), overrides)


def refused(*overrides: str, more: str = "") -> str:
    """The one sentence that says what is wrong."""
    with pytest.raises(InputError) as caught:
        read(*overrides, more=more)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def eps(config: Config) -> list[tuple[str, list[float]]]:
    """Attacks with sizes in steps of 1/510, half a gray level."""
    return [(str(spec.component), [round(510 * size, 6) for size in spec.x]) for spec in config.bench.axes.attack]


# profiles


@pytest.mark.parametrize("space", ["digits", "{name: digits}"])
def test_the_default_profile_of_digits(space: str) -> None:
    config = read(more=f"space: {space}")
    assert eps(config) == [(name, [0, 2, 4, 8, 16, 32, 64, 128]) for name in ("fgsm", "pgd")]
    assert config.bench.recipe == Recipe(lr=0.02, momentum=0.9, lr_factor=0.5, lr_every=50, select="best")
    assert config.bench.recipe_of("imagenet32") == config.bench.recipe


@pytest.mark.parametrize("space", ["objects", "square", "{name: square, side: 16}"])
def test_the_default_profile_of_objects(space: str) -> None:
    pair = "cifar10-stl10"
    config = read(f"space={space}", f"axes.pair=[{pair}]")
    assert eps(config) == [(name, [0, 2, 4, 8, 16, 32]) for name in ("fgsm", "pgd")]
    assert config.bench.recipe == Recipe(lr=0.02, momentum=0.9, augment="crop_flip")


def test_the_kdd20_profile_of_digits() -> None:
    config = read("profile=kdd20")
    assert eps(config) == [("fgsm", [0, 4, 8, 16, 32])]
    assert config.bench.recipe == Recipe(lr=0.01, momentum=0.5, lr_factor=0.5, lr_every=50, select="test")
    assert config.bench.recipe_of("imagenet32") == config.bench.recipe


@pytest.mark.parametrize("space", ["objects", "{name: square, side: 16}"])
def test_the_kdd20_profile_of_objects(space: str) -> None:
    config = read(more=f"profile: kdd20\nspace: {space}")
    assert eps(config) == [("fgsm", [0, 4, 8, 16, 32])]
    common = {"lr": 0.01, "momentum": 0.9, "augment": "crop_flip", "select": "test"}
    assert config.bench.recipe == Recipe(lr_factor=0.1, lr_at=(150, 250), weight_decay=1e-6, **common)
    assert config.bench.recipe_of("cifar10") == config.bench.recipe
    assert config.bench.recipe_of("imagenet32") == Recipe(
        batch_size=256, nesterov=True, weight_decay=5e-4, lr_factor=0.2, lr_at=(), lr_every=10, **common
    )


def test_the_file_comes_before_the_profile_and_an_override_before_the_file() -> None:
    file = """
profile: kdd20
space: objects
eps: [0, 8/255]
recipe: {momentum: 0.7, lr_at: [3], select: last}
recipes: {imagenet32: {batch_size: 64}, stl10: {epochs: 2}}
"""
    config = read(more=file)
    assert eps(config) == [("fgsm", [0, 8])], "the scale is the profile's"
    recipe = config.bench.recipe
    assert (recipe.momentum, recipe.lr_at, recipe.select) == (0.7, (3,), "last")
    assert (recipe.lr_factor, recipe.augment) == (0.1, "crop_flip"), "the profile's"
    other = config.bench.recipe_of("imagenet32")
    assert (other.batch_size, other.nesterov, other.lr_every) == (64, True, 10)
    assert config.bench.recipe_of("stl10").epochs == 2
    config = read("recipe.momentum=0.3", "eps_scale=pixel", "axes.attack=[pgd]", more=file)
    assert eps(config) == [("pgd", [0, 16])]
    assert config.bench.recipe.momentum == 0.3
    config = read("profile=default", more=file)
    assert eps(config) == [("fgsm", [0, 16]), ("pgd", [0, 16])]
    assert (config.bench.recipe.momentum, config.bench.recipe.lr_factor) == (0.7, 0.5)
    config = read("space=digits", more=file)
    assert config.bench.recipe.augment == "none", "another space has other layers"


def test_the_resolved_configuration_holds_what_the_profile_gave() -> None:
    config = read("profile=kdd20", "space=objects")
    assert config.settings["profile"] == "kdd20"
    assert tuple(config.settings["recipe"]["lr_at"]) == (150, 250)
    assert config.settings["recipes"]["imagenet32"]["batch_size"] == 256
    assert "by_space" not in config.settings
    Path("again.yaml").write_text(config.text)
    assert load(Path("again.yaml")).bench == config.bench, "it needs no other profile"


def test_an_unknown_profile_shows_the_known_ones() -> None:
    assert refused("profile=kdd") == "unknown profile 'kdd'; did you mean 'kdd20'? Known: default, kdd20."
    assert "profile" in refused("profile=null")


@pytest.mark.parametrize("profile", ["default", "kdd20"])
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("atack_batch: 3", "Key 'atack_batch' not in 'BenchFile'. Did you mean: 'attack_batch'?"),
        ("recipe: {lr_evry: 3}", "recipe.lr_evry: Key 'lr_evry' not in 'Recipe'. Did you mean: 'lr_every'?"),
        ("recipes: {imagenet32: {bath_size: 3}}", "unknown setting of recipes.imagenet32 'bath_size'; did you mean"),
        ("recipes: {imagenet: {batch_size: 3}}", "unknown domain 'imagenet'; did you mean 'imagenet32'?"),
        ("recipe: {lr: fast}", "recipe.lr: Value 'fast' of type 'str' could not be converted to Float"),
        ("by_space: {}", "Key 'by_space' not in 'BenchFile'"),
    ],
)
def test_a_profile_hides_no_typo(profile: str, more: str, says: str) -> None:
    assert says in refused(more=f"profile: {profile}\n{more}")


def test_the_profiles_are_in_the_package() -> None:
    """As an installation that is not editable has them."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tl_robust"]
    package = ROOT / "tl_robust"
    given = {path for pattern in patterns for path in package.glob(pattern)}
    assert given == {path for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")}


# what OmegaConf does not say in one sentence


@pytest.mark.parametrize("text", ["- name: a", "3", "domains: [a]\n" + SMALL, "name: a\naxes: [a]"])
def test_a_list_in_the_place_of_a_mapping(text: str) -> None:
    Path("list.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"^list\.yaml: [^\n]+\.$"):
        load(Path("list.yaml"))


def test_an_empty_value_on_the_command_line_is_an_empty_text() -> None:
    assert read("data.cache=").bench.data.cache == ""
    assert read("data.cache=''").bench.data.cache == ""
    assert read().bench.data.cache == "results/cache"


# spaces and pairs


def test_a_space_may_be_a_mapping() -> None:
    (pair,) = read("space={name: square, side: 16, classes: shared}").bench.axes.pair
    assert pair.space == Component("square", 1, (("side", 16),)), "what equals a default is left out"
    (pair,) = read("space.side=16", more="space: {name: square, side: 64}").bench.axes.pair
    assert pair.space == Component("square", 1, (("side", 16),))


def test_settings_may_follow_a_name() -> None:
    assert read("engine=ray", "engine.address=auto", "engine.gpus=0.5").engine == Ray("auto", gpus=0.5)
    assert read("engine.address=host:1", more="engine: ray").engine == Ray("host:1")
    assert read("engine.name=ray").engine == Ray()
    (pair,) = read("space=square", "space.side=16").bench.axes.pair
    assert pair.space == Component("square", 1, (("side", 16),))
    assert "unknown setting of engine 'local' 'address'" in refused("engine=local", "engine.address=auto")


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("{name: square, side: wide}", "setting 'side' of space 'square' must be int, got 'wide'"),
        ("{name: square, side: 4}", "setting 'side' of space 'square' must be 8 to 1024 pixels, got 4"),
        ("{name: square, sides: 32}", "unknown setting of space 'square' 'sides'; did you mean 'side'?"),
        ("{name: digits, side: 32}", "unknown setting of space 'digits' 'side'"),
        ("{name: sqare}", "unknown space 'sqare'; did you mean 'square'?"),
        ("{side: 32}", "an entry of space must be a name or a mapping with a name, got {'side': 32}"),
        ("{name: [square]}", "an entry of space must be a name or a mapping with a name"),
        ("{name: square, 1: 2}", "unknown setting of space 'square' '1'"),
        ("[square]", "an entry of space must be a name or a mapping with a name, got ['square']"),
        ("3", "an entry of space must be a name or a mapping with a name, got 3"),
        ("null", "an entry of space must be a name or a mapping with a name, got None"),
    ],
)
def test_a_wrong_space(space: str, says: str) -> None:
    assert says in refused(f"space={space}")
    own = refused(f"axes.pair=[{{name: mnist-usps, space: {space}}}]")
    assert says.replace("entry of space", "entry of space of pair mnist-usps") in own


def test_a_pair_may_have_its_own_space() -> None:
    config = read("axes.pair=[mnist-usps, {name: usps-mnist, space: {name: square, side: 16}}, {name: mnist-svhn}]")
    assert [(pair.name, str(pair.space)) for pair in config.bench.axes.pair] == [
        ("mnist-usps", "digits"),
        ("usps-mnist", "square(side=16)"),
        ("mnist-svhn", "digits"),
    ]
    config = read("space=objects", "axes.pair=[cifar10-stl10, {name: mnist-usps, space: digits}]")
    assert [str(pair.space) for pair in config.bench.axes.pair] == ["objects", "digits"]


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ("[{name: mnist-usps, spce: digits}]", "unknown setting of pair mnist-usps 'spce'; did you mean 'space'?"),
        ("[{name: mnist-usps, 1: 2}]", "unknown setting of pair mnist-usps '1'. Known: space."),
        ("[{space: digits}]", "an entry of axes.pair must be a name or a mapping with a name"),
        ("[3]", "an entry of axes.pair must be a name or a mapping with a name, got 3"),
        ("[mnist-usps, mnist-usps]", "axes.pair has mnist-usps twice."),
        ("[mnist-usps, {name: mnist-usps, space: square}]", "axes.pair has mnist-usps twice."),
        ("[{name: mnist-upsp, space: digits}]", "unknown domain 'upsp'; did you mean 'usps'?"),
    ],
)
def test_a_wrong_pair(pairs: str, says: str) -> None:
    assert says in refused(f"axes.pair={pairs}")


def test_a_network_must_fit_the_space_of_every_pair() -> None:
    network = "axes.network=[dtn, {name: torchvision_backbone, arch: squeezenet1_0}]"
    assert len(read(network).bench.axes.network) == 2
    small = "{name: usps-mnist, space: {name: square, side: 16}}"
    assert "cannot take images of 3x16x16" in refused(network, f"axes.pair=[mnist-usps, {small}]")


# other axes


def test_strategies_have_settings() -> None:
    config = read("axes.strategy=[scratch, finetune, {name: finetune, mode: probe}, {name: finetune, blocks: 2}]")
    names = ["scratch", "finetune", "finetune(mode=probe)", "finetune(blocks=2)"]
    assert [str(strategy) for strategy in config.bench.axes.strategy] == names
    assert config.bench.axes.strategy[2] == Component("finetune", 1, (("mode", "probe"),))
    (plain,) = read("axes.strategy=[{name: finetune, mode: full, blocks: 0, classifier: copied}]").bench.axes.strategy
    assert plain == config.bench.axes.strategy[1], "settings that equal the defaults are the same component"


@pytest.mark.parametrize(
    ("override", "twice"),
    [
        ("axes.strategy=[finetune, {name: finetune, mode: full}]", "axes.strategy has finetune"),
        ("axes.strategy=[{name: finetune, mode: probe}, {mode: probe, name: finetune}]", "finetune(mode=probe)"),
        ("axes.network=[dtn, {name: dtn, width: 1}]", "axes.network has dtn"),
        ("axes.attack=[fgsm, {name: fgsm}]", "axes.attack has fgsm"),
        ("axes.attack=[{name: pgd, steps: 3}, {name: pgd, steps: 3, eps: [0]}]", "axes.attack has pgd(steps=3)"),
        ("axes.common=[svhn, svhn]", "axes.common has svhn"),
        ("axes.seed=[1, 0, 1]", "axes.seed has 1"),
        ("axes.target_images=[1, 0.5, 1.0]", "axes.target_images has 1.0"),
        ("axes.view=[white, white]", "axes.view has white"),
    ],
)
def test_nothing_is_there_twice(override: str, twice: str) -> None:
    assert f"{twice} twice." in refused(override)


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("{name: finetune, mode: 1}", "setting 'mode' of strategy 'finetune' must be str, got 1 (int)"),
        ("{name: finetune, blocks: two}", "setting 'blocks' of strategy 'finetune' must be int, got 'two'"),
        ("{name: finetune, mod: probe}", "unknown setting of strategy 'finetune' 'mod'; did you mean 'mode'?"),
        ("{name: finetune, 1: 2}", "unknown setting of strategy 'finetune' '1'"),
        ("{name: finetun}", "unknown strategy 'finetun'; did you mean 'finetune'?"),
        ("{mode: probe}", "an entry of axes.strategy must be a name or a mapping with a name"),
    ],
)
def test_a_wrong_strategy(strategy: str, says: str) -> None:
    assert says in refused(f"axes.strategy=[{strategy}]")


def test_target_images_are_shares_or_numbers() -> None:
    assert read("axes.target_images=[1.0, 0.1, 500, 2]").bench.axes.target_images == (1.0, 0.1, 500.0, 2.0)
    assert read().bench.axes.target_images == (1.0,)


@pytest.mark.parametrize("part", ["0", "-1", "-0.5", "1.5", "500.5", "inf", ".inf", "nan"])
def test_other_target_images_are_refused(part: str) -> None:
    assert "axes.target_images must hold shares in (0, 1] or whole numbers, got " in refused(
        f"axes.target_images=[{part}]"
    )


@pytest.mark.parametrize("part", ["x", "true", "null", "[1]", "{a: 1}"])
@pytest.mark.parametrize("axis", ["target_images", "seed"])
def test_what_is_no_number_is_refused(axis: str, part: str) -> None:
    assert f"axes.{axis}" in refused(f"axes.{axis}=[{part}]")


@pytest.mark.parametrize("axis", ["common", "view"])
@pytest.mark.parametrize("entry", ["[white]", "{name: white}"])
def test_what_is_no_name_is_refused(axis: str, entry: str) -> None:
    assert f"axes.{axis}" in refused(f"axes.{axis}=[{entry}]")


def test_null_is_a_name_where_a_name_is_expected() -> None:
    assert "unknown view 'null'" in refused("axes.view=[null]")
    assert "unknown domain 'null'" in refused("axes.common=[null]")


@pytest.mark.parametrize("size", ["'1/0'", "'1e400'", "true", "null", "[1]", "{a: 1}", "x"])
def test_a_size_that_is_no_number_is_refused(size: str) -> None:
    assert "eps must hold numbers such as 0.03 or 8/255" in refused(f"eps=[{size}]")
    assert "eps in axes.attack must hold" in refused(f"axes.attack=[{{name: fgsm, eps: [{size}]}}]")


def test_recipes_of_domains_are_checked_and_typed() -> None:
    bench = read(more="recipes: {mnist: {lr: 1, lr_at: [3, 5], epochs: 4}}").bench
    assert bench.recipe_of("mnist").lr_at == (3, 5)
    assert type(bench.recipe_of("mnist").lr) is float, "as under recipe: one value, one key of the store"
    assert bench.recipe_of("usps") == bench.recipe
    for change, says in (
        ("lr_at: 5", "recipe.lr_at must be a list of epochs from 1 on, got 5."),
        ("lr_at: [0]", "recipe.lr_at must be a list of epochs from 1 on, got (0,)."),
        ("lr_at: [a]", "recipe.lr_at must be a list of epochs from 1 on, got ('a',)."),
        ("lr: fast", "setting 'lr' of recipes.mnist must be float, got 'fast'"),
        ("select: worst", "recipe.select must be best, last or test, got 'worst'."),
        ("augment: flip", "unknown augmentation 'flip'"),
        ("nesterov: true, momentum: 0", "recipe.momentum must be above 0 with nesterov, got 0.0."),
    ):
        assert says in refused(more=f"recipes: {{mnist: {{{change}}}}}")
    assert "unknown augmentation 'crop_flp'; did you mean 'crop_flip'?" in refused("recipe.augment=crop_flp")


# declared domains


def test_domains_are_declared() -> None:
    config = read(
        "axes.pair=[photos-scans]",
        more="""
space: {name: square, classes: own}
domains:
  photos: {from: "npz:deep/my-photos", classes: [cat, "", 3, ~]}
  scans: {from: "folder:scans", classes: names.txt}
  plain: npz:plain
  empty: {from: npz:plain, classes: []}
""",
    )
    assert config.bench.data.domains == (
        Declared("photos", "npz:deep/my-photos", ("cat", "", "3", "")),
        Declared("scans", "folder:scans", "names.txt"),
        Declared("plain", "npz:plain"),
        Declared("empty", "npz:plain"),
    )


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ("p: {classes: [a]}", "domains.p must say where it comes from, for example {from: npz:FILES}"),
        ("p: {from: [3]}", "domains.p must say where it comes from"),
        ("p: {from: 3}", "unknown domain '3'"),
        ("p: 3", "domains.p must say where it comes from, for example {from: npz:FILES}, got 3."),
        ("p: ", "domains.p must say where it comes from"),
        ("p: {from: npz:x, clases: [a]}", "unknown key of domains.p 'clases'; did you mean 'classes'?"),
        ("p: {from: npz:x, 1: [a]}", "unknown key of domains.p '1'. Known: classes, from."),
        ("p: {from: npz:x, network: dtn}", "unknown key of domains.p 'network'"),
        ("mnist: {from: npz:x}", "domains.mnist needs a name of its own, without dash, colon, comma and slash."),
        ("npz: {from: npz:x}", "domains.npz needs a name of its own"),
        ("a-b: {from: npz:x}", "domains.a-b needs a name of its own"),
        ('"a:b": {from: npz:x}', "domains.a:b needs a name of its own"),
        ('"a,b": {from: npz:x}', "domains.a,b needs a name of its own"),
        ('"": {from: npz:x}', "domains. needs a name of its own"),
        ("a/b: {from: npz:x}", "domains.a/b needs a name of its own"),
        ("p: {from: npz:x, classes: 10}", "domains.p.classes must be a list of names"),
        ("p: {from: npz:x, classes: {a: 1}}", "domains.p.classes must be a list of names"),
        ("p: {from: npz:x, classes: [[a]]}", "domains.p.classes must be a list of names"),
        ("p: {from: npz:x, classes: [a, null]}", "domains.p.classes has null, which could be a name or none"),
        ("p: {from: npz:x, classes: [a, b, a]}", "domains.p.classes has 'a' for the labels 0 and 2"),
        ("p: {from: npz:x, classes: ''}", "domains.p.classes must be a list of names"),
        ("p: {from: npy:x}", "unknown domain 'npy'; did you mean 'npz'?"),
        ("p: {from: 'npz:'}", "domain 'npz' needs a name of files: write npz:NAME."),
        ("p: {from: npz}", "domain 'npz' needs a name of files: write npz:NAME."),
        ("p: {from: mnist}", "domain 'p' cannot be declared from 'mnist': mnist has files and classes of its own"),
        ("p: {from: 'mnist:x'}", "domain 'p' cannot be declared from 'mnist:x': mnist has files"),
        ("p: {from: mnist, classes: [a]}", "domain 'p' cannot be declared from 'mnist'"),
        ("p: {from: q}\n  q: {from: npz:x}", "unknown domain 'q'"),
    ],
)
def test_a_wrong_domain(domain: str, says: str) -> None:
    assert says in refused(more=f"domains:\n  {domain}")


def test_a_declared_domain_is_known_to_pairs_commons_and_recipes() -> None:
    more = "domains: {photos: npz:x, scans: npz:y}\nrecipes: {photos: {epochs: 3}}"
    bench = read("axes.pair=[photos-scans, mnist-photos]", "axes.common=[photos]", more=more).bench
    assert bench.recipe_of("photos").epochs == 3
    for override in ("axes.pair=[photo-scans]", "axes.common=[photo]", "recipes.photo={epochs: 3}"):
        assert "unknown domain 'photo'; did you mean 'photos'?" in refused(override, more=more)


def test_a_missing_file_of_names_is_said_when_data_are_read() -> None:
    from tl_robust.bench.plan import make_plan

    bench = read("axes.pair=[p-mnist]", more="domains: {p: {from: npz:x, classes: no.txt}}").bench
    with pytest.raises(
        DataError, match=r"^p in data cannot be read \(the file of class names data/no\.txt is not there"
    ):
        make_plan(bench)


# checkpoints


def checkpoint(entry: str, *overrides: str) -> Any:
    return read(*overrides, more=f"checkpoints: {{net: {entry}}}").bench.checkpoints["net"]


def test_checkpoints_are_declared(tmp_path: Path) -> None:
    found = checkpoint("{from: w/net.npz, network: {name: dtn, width: 0.5}, classes: [cat, dog, 3]}", "data.root=d")
    assert (found.name, found.where, found.root, found.title) == ("net", "w/net.npz", Path("d"), "checkpoint:net")
    assert found.network == Component("dtn", 1, (("width", 0.5),))
    assert found.classes == ("cat", "dog", "3")
    start = "from: net.npz, network: cnn6, classes:"
    assert checkpoint(f"{{{start} 3}}").classes == ("net 0", "net 1", "net 2")
    assert checkpoint(f"{{{start} digits}}").classes == tuple("0123456789")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert checkpoint(f"{{{start} names.txt}}", f"data.root={tmp_path}").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("net.npz", "checkpoints.net needs network: and classes: beside from:."),
        ("{from: net.npz, network: cnn6}", "checkpoints.net needs network: and classes: beside from:."),
        ("{from: net.npz, classes: 10}", "checkpoints.net needs network: and classes: beside from:."),
        ("{network: cnn6, classes: 10}", "checkpoints.net must say where it comes from, for example {from: FILE}"),
        ("[net.npz]", "checkpoints.net must say where it comes from"),
        (
            "{from: n.npz, network: cnn6, clases: 10}",
            "unknown key of checkpoints.net 'clases'; did you mean 'classes'?",
        ),
        ("{from: n.npz, network: cnn7, classes: 10}", "unknown network 'cnn7'; did you mean 'cnn6'?"),
        ("{from: n.npz, network: {drop: 1}, classes: 10}", "an entry of checkpoints.net.network must be a name or"),
        ("{from: n.npz, network: {name: cnn6, drop: 1}, classes: 10}", "unknown setting of network 'cnn6' 'drop'"),
        (
            "{from: n.npz, network: cnn6, classes: 1}",
            "checkpoints.net.classes must be 2 or more names, or their number",
        ),
        ("{from: n.npz, network: cnn6, classes: -3}", "checkpoints.net.classes must be 2 or more names"),
        ("{from: n.npz, network: cnn6, classes: []}", "checkpoints.net.classes must be 2 or more names"),
        ("{from: n.npz, network: cnn6, classes: [a]}", "checkpoints.net.classes must be 2 or more names"),
        ("{from: n.npz, network: cnn6, classes: square}", "checkpoints.net.classes must be 2 or more names"),
        ("{from: n.npz, network: cnn6, classes: true}", "checkpoints.net.classes must be a list of names"),
        ("{from: n.npz, network: cnn6, classes: 2.5}", "checkpoints.net.classes must be a list of names"),
        ("{from: n.npz, network: cnn6, classes: no.txt}", "the file of class names data/no.txt is not there."),
        ("{from: n.npz, network: cnn6, classes: latin.txt}", "the file of class names data/latin.txt is not UTF-8."),
    ],
)
def test_a_wrong_checkpoint(entry: str, says: str) -> None:
    Path("data").mkdir()
    Path("data/latin.txt").write_bytes(b"f\xfcchse\nhunde\n")
    assert says in refused(more=f"checkpoints: {{net: {entry}}}")


def test_the_network_of_a_checkpoint_is_tried_before_anything_runs() -> None:
    more = "checkpoints: {net: {from: n.npz, network: {name: wrn, depth: 11}, classes: 10}}"
    with pytest.raises(ConfigError, match="'depth'"):
        read("axes.pair=[checkpoint:net-mnist]", more=more)


# the benches of this repository


@pytest.mark.parametrize("path", BENCHES, ids=[path.stem for path in BENCHES])
def test_every_bench_loads_without_data(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError("loading a bench reads no data")

    monkeypatch.setattr("tl_robust.data.domain.Domain.checked", never)
    monkeypatch.setattr("tl_robust.data.domain.Domain.class_names", never)
    config = load(path, [f"data.root={tmp_path / 'nowhere'}"])
    assert config.bench.name == path.stem
    for profile in ("default", "kdd20"):
        assert load(path, [f"data.root={tmp_path / 'nowhere'}", f"profile={profile}"]).settings["profile"] == profile


@pytest.mark.parametrize("path", BENCHES, ids=[path.stem for path in BENCHES])
def test_the_command_lines_in_the_comments_of_a_bench_work(path: Path, tmp_path: Path) -> None:
    comment = "\n".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
    named = re.findall(r"BENCH=(\S+)", comment)
    assert path.stem in named
    assert set(named) <= {bench.stem for bench in BENCHES}
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"make ([a-z-]+)", comment)) <= set(known)
    for name, arguments in re.findall(r'BENCH=(\S+) ARGS="([^"]*)"', comment):
        overrides = arguments.replace("FOLDER", str(tmp_path)).split()
        assert load(ROOT / "experiments" / f"{name}.yaml", overrides)


def test_the_kdd20_bench_hides_nothing_of_the_profile(tmp_path: Path) -> None:
    config = load(ROOT / "experiments" / "kdd20.yaml", [f"data.root={tmp_path}"])
    expected = read("profile=kdd20").bench
    assert config.bench.axes.attack == expected.axes.attack
    assert replace(config.bench.recipe, epochs=expected.recipe.epochs) == expected.recipe


def test_no_bench_names_a_recipe_for_a_domain_that_it_does_not_use() -> None:
    for path in BENCHES:
        bench = load(path, ["data.root=nowhere"]).bench
        used = {name for pair in bench.axes.pair for name in pair.name.split("-")} | set(bench.axes.common)
        own = load(path, ["data.root=nowhere", "profile=default"]).bench.recipes
        assert set(own) <= used, path.stem


def test_unknown_names_may_be_numbers() -> None:
    assert str(UnknownNameError("key", 1, ["a"])) == "unknown key 1. Known: a."  # type: ignore[arg-type]


# texts stay as they were written

TEXTS = ["2026_11_26", "12:30", "010", "0x10", "1e3", "1.50", "no", "on", "true", "~", "null", "2026-11-26", "a b", "-"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_yaml_takes_for_something_else(text: str) -> None:
    keys = ("results", "data.root", "data.cache", "name")

    def values(config: Config) -> tuple[str, ...]:
        bench = config.bench
        return str(config.results), bench.data.root, bench.data.cache, bench.name

    assert values(read(*(f"{key}={text}" for key in keys))) == (text,) * 4
    if text != "-":  # in a file this starts a list
        more = f"results: {text}\ndata: {{root: {text}, cache: {text}}}\n"
        Path("small.yaml").write_text(SMALL.replace("name: small", f"name: {text}") + more)
        config = load(Path("small.yaml"))
        assert values(config) == (text,) * 4
        Path("again.yaml").write_text(config.text)
        assert values(load(Path("again.yaml"))) == (text,) * 4, "as the results keep it"


def test_quotes_around_an_override_are_no_part_of_it() -> None:
    assert str(read("results='a b'").results) == "a b"
    assert str(read('results="010"').results) == "010"
    assert read("wandb.project=010").wandb.project == "010"
    assert str(read("results=a #1").results) == "a #1", "nothing is a comment there"


def test_a_forgotten_text_is_refused() -> None:
    assert "results" in refused(more="results:")
    assert refused("results=") == "results must be a folder, got ''."
    assert refused("data.root=") == "data.root must be a folder, got ''."


@pytest.mark.parametrize("where", ["domains: {{p: {{from: npz:x, classes: [{}]}}}}", "{}"])
def test_names_of_classes_are_texts(where: str) -> None:
    names = "00, 07, 08, 1_000, 12:30, 2026-11-26, yes, no, on, off, true, 1e3, 1.50, 0x10, -1, ' a ', \"null\", ~, ''"
    expected = ("00", "07", "08", "1_000", "12:30", "2026-11-26", "yes", "no", "on", "off", "true", "1e3", "1.50")
    expected += ("0x10", "-1", "a", "null", "", "")
    if where == "{}":
        found = checkpoint(f"{{from: n.npz, network: cnn6, classes: [{names}]}}").classes
    else:
        (domain,) = read(more=where.format(names)).bench.data.domains
        found = domain.classes
    assert found == expected


def test_keys_are_texts() -> None:
    bench = read("axes.pair=[on-010]", more="domains: {on: npz:x, 010: npz:y}\nrecipes: {010: {epochs: 3}}").bench
    assert [domain.name for domain in bench.data.domains] == ["on", "010"]
    assert bench.recipe_of("010").epochs == 3


def test_numbers_are_decimal() -> None:
    assert read("axes.seed=[010, 1_000, 0]").bench.axes.seed == (10, 1000, 0)
    assert read(more="attack_batch: 010").bench.attack_batch == 10
    assert read("recipe.lr=1e-3").bench.recipe.lr == 0.001
    assert read("data.download=yes").bench.data.download is True
    assert eps(read("eps=[0, 02/255, 010/255]"))[0][1] == [0, 4, 20]
    for wrong in ("12:30", "2026-11-26"):
        assert f"eps must hold numbers such as 0.03 or 8/255, got '{wrong}'" in refused(f"eps=[{wrong}]")
        assert "axes.seed" in refused(f"axes.seed=[{wrong}]")


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 400, "-9223372036854775808", "0x8000000000000000"])
@pytest.mark.parametrize("key", ["axes.seed", "axes.target_images", "eps"])
def test_numbers_beyond_64_bits_are_one_sentence(key: str, number: str) -> None:
    assert "is beyond the whole numbers of 64 bits" in refused(f"{key}=[{number}]")
    assert read("axes.seed=[9223372036854775807]").bench.axes.seed == (2**63 - 1,)


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    Path("small.yaml").write_text(SMALL.lstrip(), encoding="utf-8-sig")
    assert load(Path("small.yaml")).bench.name == "small"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b", "the key 'name' stands there twice"),
        ("a: &a [*a]", "more than 50 inside each other"),
        ("a: " + 3000 * "[", "stand too deep inside each other"),
        ("name: !!python/name:os.system x", "cannot have the tag"),
        ("? [a]\n: b", "a key must be a text"),
        ("a: &a {<<: *a}", "merged by <<"),
        (
            "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join(9 * [f'*a{k - 1}'])}]\n" for k in range(1, 9)),
            "more than 100,000 values",
        ),
        (
            "a0: &a0 {x: 1}\n"
            + "".join(f"a{k}: &a{k} {{<<: [{', '.join(9 * [f'*a{k - 1}'])}]}}\n" for k in range(1, 9)),
            "more than 100,000 values",
        ),
    ],
)
def test_files_that_are_no_bench_end_in_one_sentence(text: str, says: str) -> None:
    Path("odd.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Path("odd.yaml"))
    assert str(caught.value).startswith("odd.yaml: ")
    assert says in str(caught.value)


# names that leave their folder


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "/a", "a\\b", "store", "Store", "cache", '"a\\0b"', '"a\\nb"', '"a\\eb"', "x" * 300]
)
def test_a_bench_has_a_folder_of_its_own(name: str) -> None:
    text = name if name.startswith('"') else f"'{name}'"
    Path("small.yaml").write_text(SMALL.replace("name: small", f"name: {text}"))
    with pytest.raises(ConfigError, match=r"^name "):
        load(Path("small.yaml"))


@pytest.mark.parametrize("key", ["results", "data.root", "data.cache"])
def test_a_folder_has_no_control_characters(key: str) -> None:
    assert f"{key} must be a folder" in refused(f'{key}="a\\0b"')


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..", "a/..", '"a\\0b"'])
@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_a_layout_lies_in_the_folder_of_the_data(kind: str, name: str) -> None:
    origin = name.replace('"', f'"{kind}:', 1) if name.startswith('"') else f"{kind}:{name}"
    assert "data.root" in refused(more=f"domains: {{p: {{from: {origin}}}}}")


def test_a_file_of_names_lies_in_the_folder_of_the_data() -> None:
    for name in ("../names.txt", "/etc/passwd"):
        assert "data.root" in refused(more=f"domains: {{p: {{from: npz:x, classes: {name}}}}}")
        assert "data.root" in refused(more=f"checkpoints: {{c: {{from: n.npz, network: cnn6, classes: {name}}}}}")


# all errors at once

WRONG = """
name: a/b
profile: defalt
atack_batch: 3
domains:
  photos: {from: npz:x, clases: [a]}
  scans: {from: npz:x, classes: [a, a]}
checkpoints: {net: {from: n.npz, network: cnn7, classes: 10}}
recipe: {epochs: 0, lr_evry: 2, momentum: 2}
recipes: {photos: {epoch: 3}, mnist: {lr: fast, augment: flip}}
axes:
  pair: [photos-mnist, mnist-upsp]
  strategy: [scratch, finetun, {name: finetune, mod: probe, block: 2}]
  attack: [fgms, {name: pgd, steps: x}]
  view: [white, grey]
  seed: [0, x]
  common: [svnh]
fast: [fold, bf61]
"""


def test_settings_that_are_right_together_are_not_tried_alone() -> None:
    """An eps of 3 needs the norm l2."""
    config = read("axes.attack=[{name: pgd, norm: l2, eps: [3]}]")
    assert config.bench.axes.attack[0].x == (3.0,)


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    Path("wrong.yaml").write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        load(Path("wrong.yaml"), ["workers=-1", "data.train_limit=x"])
    title, *lines = str(caught.value).splitlines()
    expected = [
        "name must be usable as a folder name, got 'a/b'.",
        "unknown profile 'defalt'; did you mean 'default'?",
        "Key 'atack_batch' not in 'BenchFile'. Did you mean: 'attack_batch'?",
        "unknown key of domains.photos 'clases'; did you mean 'classes'?",
        "domains.scans.classes has 'a' for the labels 0 and 1",
        "unknown network 'cnn7'; did you mean 'cnn6'?",
        "recipe.epochs must be at least 1, got 0.",
        "recipe.lr_evry: Key 'lr_evry' not in 'Recipe'. Did you mean: 'lr_every'?",
        "recipe.momentum must be in [0, 1), got 2.0.",
        "unknown setting of recipes.photos 'epoch'; did you mean 'epochs'?",
        "setting 'lr' of recipes.mnist must be float, got 'fast'",
        "unknown augmentation 'flip'; did you mean",
        "unknown domain 'upsp'; did you mean 'usps'?",
        "unknown strategy 'finetun'; did you mean 'finetune'?",
        "unknown setting of strategy 'finetune' 'mod'; did you mean 'mode'?",
        "unknown setting of strategy 'finetune' 'block'; did you mean 'blocks'?",
        "unknown attack 'fgms'; did you mean 'fgsm'?",
        "setting 'steps' of attack 'pgd' must be int, got 'x'",
        "unknown view 'grey'",
        "axes.seed[1]: Value 'x' of type 'str' could not be converted to Integer",
        "unknown domain 'svnh'; did you mean 'svhn'?",
        "bf61",
        "workers must be 0 (as many as fit the machine) or more, got -1.",
        "data.train_limit: Value 'x' of type 'str' could not be converted to Integer",
    ]
    assert title == f"{len(lines)} errors in wrong.yaml:"
    for line, says in zip(lines, expected, strict=False):
        assert line.startswith("- ")
        assert says in line
    assert len(lines) == len(expected), lines


def test_check_pair_hears_of_all_that_is_wrong_with_the_data() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(["domains.mnist={from: npz:x}", "data.root="], None, "a-b")
    assert "domains.mnist needs a name of its own" in str(caught.value)
    assert "data.root must be a folder, got ''" in str(caught.value)
