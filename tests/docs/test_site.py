"""The site is built in silence, its links lead somewhere, and it opens without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handbook import catalogue, public
from tests.docs import built_site as built
from tests.docs.built_site import ROOT, Page

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    made = built.build(folder)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Page]:
    return built.read(folder)


def test_every_page_is_built_and_stands_in_the_navigation(pages: dict[str, Page]) -> None:
    wanted = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    wanted |= {f"api/{page}.html" for page in public.PAGES} | {"api/names.html", "architecture.html", "recipes.html"}
    assert wanted | {"404.html", "changelog.html"} <= pages.keys()
    reached, left = {"index.html"}, ["index.html"]
    while left:
        here = left.pop()
        linked = {str(Path(here).parent / link.partition("#")[0]) for link in pages[here].links if "://" not in link}
        linked = {re.sub(r"[^/]+/\.\./", "", path) for path in linked}
        left += sorted((linked & pages.keys()) - reached)
        reached |= linked & pages.keys()
    assert wanted - reached == set()


def test_every_link_and_anchor_leads_somewhere(pages: dict[str, Page], folder: Path) -> None:
    assert sum(len(page.links) for page in pages.values()) > 5000
    assert built.broken(pages, folder) == []


def test_no_page_loads_anything_from_elsewhere(pages: dict[str, Page], folder: Path) -> None:
    loads = {(page.path, load) for page in pages.values() for load in page.loads}
    assert len(loads) > 300
    assert [(page, load) for page, load in loads if re.match(r"(\w+:)?//", load) and not load.startswith("data:")] == []
    for sheet in folder.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text("utf-8")) == []


def test_every_registered_name_has_its_place_and_its_source(pages: dict[str, Page]) -> None:
    page = pages[catalogue.ADDRESS.replace(".md", ".html")]
    named = list(public.registered())
    assert len(named) > 200
    assert {catalogue.anchor(kind, name) for kind, name, _ in named} - page.ids == set()
    assert sum("../source/" in link for link in page.links) >= len(named)


def test_every_public_name_is_on_a_page_of_the_api(pages: dict[str, Page]) -> None:
    anchors = {anchor for path, page in pages.items() if path.startswith("api/") for anchor in page.ids}
    assert public.homes().keys() - anchors == set()


def test_no_text_names_a_role_or_a_place_of_this_machine(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        text = path.read_text("utf-8")
        assert str(ROOT) not in text, path
        if "source" not in path.relative_to(folder).parts:
            prose = re.sub(r"<details class=\"mkdocstrings-source\">.*?</details>", "", text, flags=re.S)
            assert not re.search(r":(class|meth|func):(`|<code>)", prose), path
