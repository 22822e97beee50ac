"""The defense card on made results, whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files

import pytest
import torch
from jsonschema import Draft202012Validator

from tests.claims import exposed, made, stamped
from tl_robust.metrics.estimate import estimate, holm
from tl_robust.results.card import Card, Entry, cards, sizes
from tl_robust.results.card_file import content
from tl_robust.results.columns import COLUMNS
from tl_robust.types import Cell, Outcome, Result, Verdict

EPS = (0.0, 16 / 255, 32 / 255)
VIEWS = ("white", "black", "shadow")
Counts = Sequence[Sequence[int]]  # by seed, by eps


def result(defense: str, view: str, seed: int, outcome: Outcome, attack: str = "pgd", **more: object) -> Result:
    cell = Cell("b", "mnist", "usps", "dtn", "finetune", "", defense, attack, "linf", view, seed, 100)
    beside = {"white": outcome} | ({} if defense == "none" else {"plain": outcome})
    return Result(cell.key(f"{defense}{view}{seed}{attack}", {}), cell, outcome, beside, {}, Verdict(), more)


def evasion(numbers: Mapping[str, Counts], attack: str = "pgd", views: Sequence[str] = VIEWS) -> list[Result]:
    return [
        result(defense, view, seed, made.outcome(right, right, EPS), attack)
        for defense, seeds in numbers.items()
        for view in views
        for seed, right in enumerate(seeds)
    ]


def seeds(*right: int, count: int = 3) -> Counts:
    return [[right[0], *(value + off for value in right[1:])] for off in (-2, 0, 2)[:count]]


def entry(card: Card, defense: str, column: str) -> Entry:
    return next(line for line in card.lines if line.defense == defense).entries[column]


PLAIN = {"none": seeds(190, 80, 10), "pgd_at": seeds(186, 160, 90), "origin_at": seeds(190, 40, 4)}


def test_numbers_effects_and_decisions_are_those_of_the_records() -> None:
    card = cards(evasion(PLAIN), 16 / 255)[0]
    assert [line.defense for line in card.lines] == ["none", "pgd_at", "origin_at"]
    assert entry(card, "none", "white").value == pytest.approx(80 / 200)
    assert entry(card, "none", "white").effect is None
    assert entry(card, "none", "white").decision == ""
    helped, harmed = entry(card, "pgd_at", "white"), entry(card, "origin_at", "white")
    assert (helped.value, helped.n, helped.attack) == (pytest.approx(160 / 200), 600, "pgd linf")
    assert helped.effect is not None
    assert helped.effect.value == pytest.approx(80 / 200)
    assert helped.effect.low < helped.effect.value < helped.effect.high
    assert (helped.decision, harmed.decision) == ("helps", "harms")
    assert entry(card, "origin_at", "clean").decision == "undecided"
    assert entry(card, "pgd_at", "clean").value == pytest.approx(186 / 200)


def test_p_values_are_corrected_over_the_defenses_of_a_column() -> None:
    from tl_robust.metrics import METRICS

    numbers = {"none": seeds(190, 80, 10), "a": seeds(190, 83, 10), "b": seeds(190, 95, 10), "c": seeds(190, 160, 9)}
    found = evasion(numbers, views=["white"])
    card = cards(found, 16 / 255)[0]
    kept = METRICS["robust_accuracy"]
    of = {name: [(each.outcome, each.beside) for each in found if each.cell.defense == name] for name in numbers}
    raw = []
    for name in "abc":
        change = estimate((kept.draws(of[name]) - kept.draws(of["none"])).at(torch.tensor([1])))
        raw.append(2 * min(float(change.above()), float((-change).above())))
    effects = [entry(card, name, "white").effect for name in "abc"]
    assert [effect.p for effect in effects if effect] == pytest.approx(holm(raw))
    assert holm(raw) != pytest.approx(raw)
    assert [entry(card, name, "white").decision for name in "abc"] == ["undecided", "helps", "helps"]
    assert 0.05 < holm(raw)[0] < 0.5


def test_each_side_stands_with_the_attack_that_is_worst_for_it() -> None:
    weak = {"none": seeds(190, 100, 50), "squeeze": seeds(190, 60, 50)}
    strong = {"none": seeds(190, 70, 5), "squeeze": seeds(190, 90, 50)}
    card = cards([*evasion(weak, "fgsm"), *evasion(strong, "pgd")], 16 / 255)[0]
    worst, plain = entry(card, "squeeze", "white"), entry(card, "none", "white")
    assert (worst.attack, worst.value) == ("fgsm linf", pytest.approx(0.3))
    assert (plain.attack, plain.value) == ("pgd linf", pytest.approx(0.35))
    assert worst.effect is not None
    assert worst.effect.value == pytest.approx(0.3 - 0.35)


def test_an_image_that_is_refused_under_attack_is_withstood_and_a_clean_one_is_lost() -> None:
    found = evasion({"none": seeds(190, 80, 10), "mahalanobis": seeds(190, 80, 10)}, views=["white"])

    def refusing(each: Result) -> Result:
        adv = each.outcome.adv_b.clone()
        adv[1, 100:180], adv[0, 185:190] = -1, -1
        clean = each.outcome.clean_b.clone()
        clean[185:190] = -1
        outcome = replace(each.outcome, adv_b=adv, clean_b=clean)
        return replace(each, outcome=outcome, beside={"white": outcome, "plain": each.outcome})

    found = [refusing(each) if each.cell.defense != "none" else each for each in found]
    card = cards(found, 16 / 255)[0]
    assert entry(card, "mahalanobis", "white").value == pytest.approx((80 + 80) / 200)
    assert entry(card, "mahalanobis", "clean").value == pytest.approx(185 / 200)
    assert entry(card, "mahalanobis", "refused").value == pytest.approx(5 / 200)
    assert entry(card, "none", "refused").why == "not run"


def test_the_adaptive_gap_is_what_the_plain_attack_leaves_too_much() -> None:
    found = evasion({"none": seeds(190, 80, 10), "squeeze": seeds(190, 80, 10)}, views=["white"])
    easy = made.outcome([190, 190, 190], [190, 190, 190], EPS)
    found = [replace(each, beside=each.beside | {"plain": easy}) if each.cell.defense != "none" else each
             for each in found]  # fmt: skip
    assert entry(cards(found, 32 / 255)[0], "squeeze", "gap").value == pytest.approx((190 - 10) / 200)


def test_few_seeds_decide_nothing_and_a_red_cell_is_not_judged() -> None:
    found = evasion({name: counts[:1] for name, counts in PLAIN.items()})
    lone = entry(cards(found, 16 / 255)[0], "pgd_at", "white")
    assert (lone.value, lone.effect, lone.decision) == (pytest.approx(158 / 200), None, "undecided")
    assert "three seeds" in lone.why
    found = evasion(PLAIN)
    red = Verdict("red", ("Nobody knows it.",))
    found = [replace(each, verdict=red) if (each.cell.defense, each.cell.seed) == ("pgd_at", 1) else each
             for each in found]  # fmt: skip
    card = cards(found, 16 / 255)[0]
    judged = entry(card, "pgd_at", "white")
    assert judged.value == pytest.approx(160 / 200)
    assert (judged.effect, judged.decision, judged.trust.level) == (None, "undecided", "red")
    assert "red" in judged.why
    assert [line.trust.level for line in card.lines] == ["green", "red", "green"]


def test_what_was_not_run_says_so() -> None:
    card = cards(evasion(PLAIN, views=["white"]), 16 / 255)[0]
    assert entry(card, "pgd_at", "black").why == "not run"
    assert card.notes["black"].startswith("Not run: none in view black")
    assert card.notes["backdoor"].startswith("Not run: no attack of backdoor")
    assert entry(card, "pgd_at", "training").why == "not measured"


def test_a_defense_that_lacks_in_one_view_alone_says_so() -> None:
    found = [each for each in evasion(PLAIN) if (each.cell.defense, each.cell.view) != ("pgd_at", "shadow")]
    card = cards(found, 16 / 255)[0]
    assert entry(card, "pgd_at", "shadow").why == "not run"
    assert entry(card, "pgd_at", "shadow").decision == ""
    assert entry(card, "origin_at", "shadow").decision == "harms"


def test_of_several_numbers_of_labels_the_largest_counts() -> None:
    few = [replace(each, cell=replace(each.cell, target_images=50)) for each in evasion({"none": seeds(90, 9, 1)})]
    card = cards([*few, *evasion(PLAIN)], 16 / 255)[0]
    assert entry(card, "none", "white").value == pytest.approx(80 / 200)
    assert "100 labeled target images" in card.notes["white"]


def test_there_is_a_card_for_each_eps_the_middle_one_first() -> None:
    assert [round(card.eps * 255) for card in cards(evasion(PLAIN))] == [16, 32]
    assert [round(size * 255) for size in sizes(evasion(PLAIN))] == [16, 32]
    assert not cards(evasion({"none": PLAIN["none"]}))


def backdoor(kept: int) -> list[Result]:
    hits = {"none": kept, "reset": 4, "distill": min(kept, 150)}
    return [
        each
        for defense, count in hits.items()
        for each in stamped.results({"finetune": stamped.around([180, 170, count])}, defense=defense)
    ]


def test_survival_stands_in_the_table_of_the_same_pair_and_helps_where_it_falls() -> None:
    first, *others = cards([*evasion(PLAIN), *backdoor(190)], 16 / 255)
    assert not others
    assert entry(first, "none", "backdoor").value == pytest.approx(190 / 200)
    gone = entry(first, "reset", "backdoor")
    assert (gone.value, gone.decision) == (pytest.approx(4 / 200), "helps")
    assert entry(first, "pgd_at", "backdoor").why == "not run"
    assert entry(first, "reset", "white").why == "not run"


def test_where_fine_tuning_alone_forgets_the_trigger_survival_tells_nothing() -> None:
    card = cards(backdoor(150))[0]
    assert entry(card, "reset", "backdoor").decision == "cannot tell"
    assert "Cannot tell: lift of the undefended B is 75.0 %, and below 80%" in card.notes["backdoor"]
    assert entry(card, "reset", "backdoor").value == pytest.approx(4 / 200)


@pytest.mark.parametrize(("apart", "decision"), [(1.6, "helps"), (0.2, "cannot tell")])
def test_membership_is_judged_where_the_undefended_gives_members_away(apart: float, decision: str) -> None:
    found = [
        each
        for defense, d in {"none": apart, "dp": 0.0}.items()
        for each in exposed.exposed({"finetune": d}, defense=defense, pair="mnist-usps")
    ]
    (card,) = cards(found)
    assert entry(card, "dp", "membership").decision == decision
    assert ("Cannot tell: auc" in card.notes["membership"]) == (decision == "cannot tell")
    assert card.title == "mnist → usps, finetune"


def test_costs_are_over_the_undefended_twin_on_average_over_seeds() -> None:
    spent = {"none": (2.0, 4.0, 3.0), "pgd_at": (16.0, 20.0, 18.0), "ensemble": (9.0, 9.0, 9.0)}
    found = [
        result(name, "white", seed, made.outcome([190, 80, 10], [190, 80, 10], EPS), victim_busy_seconds=seconds,
               **({"inference_ratio": 2.9} if name == "ensemble" else {}))
        for name, each in spent.items() for seed, seconds in enumerate(each)
    ]  # fmt: skip
    card = cards(found, 16 / 255)[0]
    assert [entry(card, name, "training").value for name in spent] == pytest.approx([1, 6, 3])
    assert entry(card, "ensemble", "inference").value == pytest.approx(2.9)
    assert entry(card, "pgd_at", "training").decision == ""


def test_the_file_fits_its_schema_and_names_the_cells_of_every_number() -> None:
    found = [*evasion(PLAIN), *(replace(each, key="0123456789abcdef") for each in backdoor(190))]
    text = json.dumps(content(cards(found), found), allow_nan=False)
    read = json.loads(text)
    Draft202012Validator(json.loads(files("tl_robust.results").joinpath("card.schema.json").read_text())).validate(read)
    assert [column["name"] for column in read["columns"]] == [column.name for column in COLUMNS]
    line = next(line for line in read["cards"][0]["lines"] if line["defense"] == "pgd_at")
    keys = [each.key for each in found if (each.cell.defense, each.cell.view) == ("pgd_at", "white")]
    assert line["entries"]["white"]["cells"] == keys
    assert line["entries"]["training"]["value"] is None


def null_card(number: int, defenses: int = 4, samples: int = 200) -> Card:
    """Defenses that are other seeds of the same training: a sample is right with a chance of its own."""
    draw = torch.Generator().manual_seed(number)
    hard = torch.rand(samples, generator=draw)

    def drawn() -> Outcome:
        skill = 0.5 + 0.02 * torch.randn((), generator=draw)
        noise = 0.3 * torch.randn(2, samples, generator=draw)
        wrong = torch.stack([torch.zeros(samples, dtype=torch.bool), *(hard + noise > skill)]).long()
        base = made.outcome([samples] * 3, [samples] * 3, EPS)
        return replace(base, adv_b=wrong, clean_b=wrong[0])

    names = ["none", *(f"null{place}" for place in range(defenses))]
    return cards([result(name, "white", seed, drawn()) for name in names for seed in range(3)], 16 / 255)[0]


def test_a_second_seed_of_the_same_training_neither_helps_nor_harms() -> None:
    """The level is 5 % of cards that name any of four such defenses: of 900 cards it was 46, of 200 it is below 16."""
    named = [null_card(number) for number in range(200)]
    decided = [[line.entries["white"].decision for line in card.lines] for card in named]
    assert sum("helps" in each or "harms" in each for each in decided) < 16
