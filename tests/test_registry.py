"""Names, settings and plugin folders."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from tl_robust import description, registry
from tl_robust.attacks import ATTACKS
from tl_robust.data.domain import DOMAINS, DataSettings, get_domain
from tl_robust.engines.base import ENGINES
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Component, Registry, check_settings, load_plugins
from tl_robust.threats.base import threat_of

ATTACK = """
from dataclasses import dataclass
from tl_robust.attacks import ATTACKS, Attack

@ATTACKS.register
@dataclass(frozen=True)
class Still(Attack):
    VERSION = 4
    strength: float = 1.0
    steps: int = 3

    def perturb(self, problem, eps):
        yield from (problem.clean for _ in eps)
"""


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    kinds = (ATTACKS, DOMAINS)
    before = [(kind.names(), dict(kind._items), dict(kind._modules)) for kind in kinds]
    loaded = dict(registry._loaded_plugins)
    yield
    for kind, (_, items, modules) in zip(kinds, before, strict=True):
        kind._items, kind._modules = items, modules
    registry._loaded_plugins.clear()
    registry._loaded_plugins.update(loaded)


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "my plugins"
    folder.mkdir()
    (folder / "still.py").write_text(ATTACK)
    return folder


# names


def test_a_name_is_its_file_name() -> None:
    for kind, package in ((ATTACKS, "tl_robust.attacks.named"), (DOMAINS, "tl_robust.data.domains")):
        assert kind.names() == sorted(kind.names())
        for name in kind.names():
            assert kind[name].__module__ == f"{package}.{name}"
    assert {"fgsm", "pgd"} <= set(ATTACKS.names())
    assert {"mnist", "optdigits", "rendered_print", "rendered_syn", "usps"} <= set(DOMAINS.names())
    assert "base" not in ATTACKS


def test_an_unknown_name_shows_the_closest_and_all() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^unknown attack 'fgms'; did you mean 'fgsm'\? Known: .*fgsm, .*pgd.*\.$"
    ):
        ATTACKS["fgms"]
    with pytest.raises(UnknownNameError, match=r"^unknown attack 'zzzz'\. Known: .*fgsm, .*pgd.*\.$"):
        ATTACKS["zzzz"]


def test_an_unknown_name_leads_to_the_folder_of_plugins_where_none_was_given(plugins: Path) -> None:
    registry._loaded_plugins.clear()
    said = "One of your own? Name its folder under plugins: in the bench file, or by --plugins."
    for find in (lambda: ATTACKS["shade"], lambda: threat_of("shade"), lambda: get_domain("shade", DataSettings())):
        with pytest.raises(UnknownNameError) as raised:
            find()
        assert str(raised.value).endswith(f". {said}")
    with pytest.raises(UnknownNameError) as raised:
        ENGINES["shade"]  # which stands in the package
    assert said not in str(raised.value)
    load_plugins(plugins)
    with pytest.raises(UnknownNameError) as raised:
        ATTACKS["shade"]
    assert said not in str(raised.value)


def test_two_of_one_name_are_an_error_that_names_both_files() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^two attacks are named 'fgsm' \(.*/attacks/named/fgsm\.py and elsewhere\.fgsm\): rename one of the",
    ):
        ATTACKS.register(ATTACKS["fgsm"], "elsewhere.fgsm")
    assert ATTACKS["fgsm"].__module__ == "tl_robust.attacks.named.fgsm"


# settings


class Built:
    VERSION = 3

    def __init__(
        self,
        needed: int,
        count: int = 1,
        rate: float = 0.5,
        name: str = "a",
        on: bool = False,
        limit: int | None = None,
        mode: Literal["x", "y"] = "x",
    ) -> None: ...


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({}, {}),
        ({"count": 2, "rate": 0.1, "name": "b", "on": True}, {"count": 2, "rate": 0.1, "name": "b", "on": True}),
        ({"rate": 2}, {"rate": 2.0}),
        ({"limit": None}, {"limit": None}),
        ({"limit": 3}, {"limit": 3}),
        ({"mode": "y"}, {"mode": "y"}),
    ],
)
def test_settings_of_the_right_type_pass(given: dict[str, registry.Scalar], checked: object) -> None:
    found = check_settings("thing 'built'", Built, given)
    assert found == checked
    assert all(type(value) is type(checked[name]) for name, value in found.items())  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"count": 1.5}, r"^setting 'count' of thing 'built' must be int, got 1\.5 \(float\)\.$"),
        ({"count": True}, r"^setting 'count' of thing 'built' must be int, got True \(bool\)\.$"),
        ({"count": "1"}, r"must be int, got '1' \(str\)"),
        ({"rate": "0.1"}, r"'rate' of thing 'built' must be float, got '0\.1' \(str\)"),
        ({"rate": True}, r"must be float, got True \(bool\)"),
        ({"on": 1}, r"must be bool, got 1 \(int\)"),
        ({"name": None}, r"must be str, got None \(NoneType\)"),
        ({"limit": "no"}, r"must be int or NoneType, got 'no'"),
        (
            {"cuont": 1},
            r"^unknown setting of thing 'built' 'cuont'; did you mean 'count'\? Known: count, limit, mode, ",
        ),
        ({"needed": 1}, r"^unknown setting of thing 'built' 'needed'"),
    ],
)
def test_a_wrong_setting_gives_its_name_and_type(given: dict[str, registry.Scalar], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_settings("thing 'built'", Built, given)


def test_a_component_carries_version_and_sorted_settings() -> None:
    kind: Registry[type[Built]] = Registry("thing", "tl_robust.data.pairs")
    kind.register(Built, "somewhere.built")
    component = kind.component("built", {"rate": 1, "count": 2})
    assert component == Component("built", 3, (("count", 2), ("rate", 1.0)))
    assert str(component) == "built(count=2, rate=1.0)"
    assert str(kind.component("built")) == "built"
    with pytest.raises(UnknownNameError, match=r"^unknown thing 'bilt'; did you mean 'built'\?"):
        kind.component("bilt")


# plugins


@pytest.mark.parametrize(
    ("eps", "text"),
    [(8 / 255, "8/255"), (0.1, "0.1"), (1.0, "1.0"), (8 / 255 + 1e-9, repr(8 / 255 + 1e-9)), (0.2, "51/255")],
)
def test_an_eps_is_written_as_a_fraction_where_it_is_one_exactly_and_read_back(eps: float, text: str) -> None:
    component = registry.Component("one", 1, (("eps", eps), ("share", 0.2)))
    assert str(component) == f"one(eps={text}, share=0.2)"
    assert description.described("thing", str(component)) == ("one", {"eps": eps, "share": 0.2})
    assert description.described("thing", "one(share=1/10, folder=a/b)") == ("one", {"share": 0.1, "folder": "a/b"})


def test_a_plugin_file_is_one_more_name(plugins: Path) -> None:
    assert "still" not in ATTACKS
    load_plugins(plugins)
    assert "still" in ATTACKS
    assert ATTACKS.names() == sorted(ATTACKS.names())
    assert ATTACKS.component("still", {"steps": 5}) == Component("still", 4, (("steps", 5),))


def test_a_folder_loaded_twice_by_any_path_is_fine(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_plugins(plugins)
    first = ATTACKS["still"]
    load_plugins(plugins)
    monkeypatch.chdir(plugins)
    load_plugins(Path())
    load_plugins(Path("..") / plugins.name)
    assert ATTACKS["still"] is first


def test_a_later_file_in_a_known_folder_is_found(plugins: Path) -> None:
    load_plugins(plugins)
    (plugins / "second.py").write_text(ATTACK)
    load_plugins(plugins)
    assert "second" in ATTACKS


def test_a_plugin_may_not_take_a_name_of_the_package(plugins: Path) -> None:
    (plugins / "pgd.py").write_text(ATTACK)
    with pytest.raises(
        ConfigError,
        match=r"^two attacks are named 'pgd' \(.*/tl_robust/attacks/named/pgd\.py and .*/my plugins/pgd\.py\): ",
    ):
        load_plugins(plugins)


def test_two_plugin_folders_may_not_share_a_name_and_the_message_tells_them_apart(
    plugins: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "still.py").write_text(ATTACK)
    load_plugins(plugins)
    with pytest.raises(ConfigError, match="two attacks are named 'still'") as caught:
        load_plugins(other)
    assert str(plugins) in str(caught.value)
    assert str(other) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from tl_robust.attacks import ATTACK", "ImportError: cannot import name 'ATTACK'"),
    ],
    ids=["missing module", "syntax", "run time", "wrong name"],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_cause(text: str, cause: str, plugins: Path) -> None:
    (plugins / "worse.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plugins(plugins)
    message = str(caught.value)
    assert message.startswith(f"plugin {plugins / 'worse.py'} cannot be imported: {cause}")
    assert "\n" not in message


def test_a_repaired_plugin_can_be_loaded_again(plugins: Path) -> None:
    (plugins / "worse.py").write_text("1 / 0")
    with pytest.raises(ConfigError):
        load_plugins(plugins)
    (plugins / "worse.py").write_text(ATTACK + "\n")
    load_plugins(plugins)
    assert "worse" in ATTACKS


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("")], ids=["missing", "a file"])
def test_a_missing_plugin_folder_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "pluggins")
    with pytest.raises(ConfigError, match=r"^plugin folder .*pluggins not found: give the path of a folder of \.py"):
        load_plugins(tmp_path / "pluggins")
