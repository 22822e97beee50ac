"""The ledger on made outcomes: every claim can be supported, refuted and undecided, and never rests on red cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from tests.claims.made import SAMPLES, Counts, around, results
from tl_robust.claims import CLAIMS, Finding, judge
from tl_robust.metrics.estimate import holm
from tl_robust.types import Result

BLACK = {"scratch": [190, 180, 170], "common_init": [190, 150, 120], "finetune": [190, 120, 80]}
WHITE = {"scratch": [190, 100, 40], "common_init": [190, 110, 50], "finetune": [190, 140, 80]}


def seeds(counts: Mapping[str, Sequence[int]]) -> dict[str, Counts]:
    return {name: around(middle) for name, middle in counts.items()}


def swapped(counts: Mapping[str, Sequence[int]]) -> dict[str, Counts]:
    """Scratch and FineTune change places."""
    other = {"scratch": "finetune", "finetune": "scratch"}
    return seeds({name: counts[other.get(name, name)] for name in counts})


TWO_SIDES = results(seeds(BLACK), seeds(WHITE))
NO_SIDE = results(swapped(BLACK), swapped(WHITE))
EQUAL = results(
    {name: [[190, 150 + off, 100 - off] for off in (-6, 0, 6)] for name in BLACK},
    {name: [[190, 110 + off, 60 - off] for off in (5, 0, -5)] for name in WHITE},
)


def overall(findings: Sequence[Finding], attack: str = "fgsm linf") -> dict[str, Finding]:
    return {one.claim: one for one in findings if not one.pair and one.attack == attack}


def decided(found: Sequence[Result], *claims: str) -> dict[str, str]:
    ledger = overall(judge(found))
    return {name: ledger[name].decision for name in claims}


def test_a_bench_with_two_sides_supports_what_the_paper_says() -> None:
    ledger = overall(judge(TWO_SIDES))
    names = ["H1", "H2", "H3", "H4", "H5", "H9", "H10"]
    assert {name: ledger[name].decision for name in names} == dict.fromkeys(names, "supported")
    h1 = ledger["H1"]
    assert h1.effect == pytest.approx(40 / SAMPLES)  # of 200, 40 more at both eps
    assert h1.low < h1.effect < h1.high
    assert (h1.seeds, h1.n, h1.unit) == (3, SAMPLES, "share")
    assert ledger["H2"].effect == pytest.approx((60 + 90) / 2 / SAMPLES)
    # at 4/255 the ratio 70 / 50 is not known well enough
    assert ledger["H3"].effect == pytest.approx(110 / 110 - 20 / 150, rel=0.02)
    assert ledger["H5"].effect == h1.effect  # the weaker of the two


def test_the_opposite_refutes_it() -> None:
    names = ["H1", "H2", "H4", "H5", "H10"]
    assert decided(NO_SIDE, *names) == dict.fromkeys(names, "refuted")
    assert overall(judge(NO_SIDE))["H1"].effect == pytest.approx(-40 / SAMPLES)


def test_no_difference_is_undecided() -> None:
    ledger = overall(judge(EQUAL))
    assert {one.decision for one in ledger.values()} == {"undecided"}
    assert ledger["H1"].effect == ledger["H1"].low == ledger["H1"].high == 0  # the same samples: nothing to doubt
    assert "Too close to 0" in ledger["H1"].reason


def test_common_init_outside_of_both_refutes_h4() -> None:
    for counts in ([190, 90, 40], [190, 187, 185]):
        assert decided(results(seeds(BLACK | {"common_init": counts}), seeds(WHITE)), "H4") == {"H4": "refuted"}


def test_one_eps_beyond_doubt_refutes_what_is_claimed_of_every_eps() -> None:
    black = {"scratch": around([190, 60, 180]), "finetune": around([190, 110, 20])}
    white = {name: around([190, 20, 10]) for name in black}
    h3 = overall(judge(results(black, white)))["H3"]
    assert h3.effect > 0
    assert h3.decision == "refuted"


def test_objects_beside_digits_decide_h6() -> None:
    digits = results(seeds(BLACK), seeds(WHITE))
    for white, decision in ((seeds(WHITE), "supported"), (swapped(WHITE), "refuted")):
        objects = results(seeds(BLACK), white, pair="cifar10-stl10", space="objects")
        assert decided([*digits, *objects], "H6") == {"H6": decision}
    assert "needs a pair of objects" in overall(judge(digits))["H6"].reason


def test_a_pair_from_svhn_beside_mnist_to_usps_decides_h8() -> None:
    for hard, easy, decision in (
        (seeds(WHITE), swapped(WHITE), "supported"),
        (seeds(WHITE), seeds(WHITE), "refuted"),
        (swapped(WHITE), swapped(WHITE), "refuted"),
    ):
        found = [*results(seeds(BLACK), hard, pair="svhn-mnist"), *results(seeds(BLACK), easy)]
        assert decided(found, "H8") == {"H8": decision}


def test_a_stronger_attack_decides_h7() -> None:
    for white, decision in ((seeds(WHITE), "supported"), (swapped(WHITE), "refuted")):
        found = [*TWO_SIDES, *results(seeds(BLACK), white, attack="pgd")]
        assert decided(found, "H7") == {"H7": decision}
        assert "H7" not in overall(judge(found), "pgd linf")  # said once, beside FGSM


def test_fewer_target_images_decide_h11() -> None:
    white = {"scratch": around([120, 60, 20]), "finetune": around([170, 80, 30])}
    for black, decision in (
        ({"scratch": [120, 115, 112], "finetune": [170, 5, 2]}, "supported"),  # a gain of 50, a weakness of 110
        ({"scratch": [120, 110, 100], "finetune": [170, 80, 60]}, "refuted"),  # a gain of 50, a weakness of 35
    ):
        few = results(seeds(black), white, images=10)
        ledger = judge([*TWO_SIDES, *few])
        assert overall(ledger)["H11"].decision == decision
        assert [one.pair for one in ledger if one.claim == "H11" and one.pair] == ["mnist → usps (10 target images)"]


def test_red_cells_are_never_used() -> None:
    black, white = seeds(BLACK), seeds(WHITE)
    ledger = overall(judge(results(black, white, levels={("finetune", "white", 1): "red"})))
    assert ledger["H1"].decision == "undecided"
    assert math.isnan(ledger["H1"].effect)
    assert "1 of its cells are red" in ledger["H1"].reason
    assert ledger["H2"].decision == "supported"  # black cells are not
    amber = overall(judge(results(black, white, levels={("finetune", "white", 1): "amber"})))
    assert amber["H1"].decision == "supported"


def test_one_seed_decides_nothing() -> None:
    found = [result for result in TWO_SIDES if result.cell.seed == 0]
    ledger = overall(judge(found))
    assert {one.decision for one in ledger.values()} == {"undecided"}
    assert "one seed" in ledger["H2"].reason.lower()
    two = overall(judge([result for result in TWO_SIDES if result.cell.seed < 2]))
    assert "at least three seeds" in two["H10"].reason


def test_a_sign_that_changes_over_eps_decides_nothing() -> None:
    white = {"scratch": around([190, 100, 60]), "finetune": around([190, 180, 40])}
    h1 = overall(judge(results(white, white)))["H1"]
    assert h1.effect > 0.1
    assert h1.decision == "undecided"
    assert h1.reason.endswith("above 0 at eps 4/255, below at 8/255.")


def test_pairs_that_disagree_leave_the_mean_open() -> None:
    black = {"scratch": around([190, 180, 170]), "finetune": around([190, 60, 20])}
    other = {"scratch": around([190, 120, 80]), "finetune": around([190, 150, 110])}
    white = {name: around([190, 50, 10]) for name in black}
    ledger = judge([*results(black, white), *results(other, white, pair="svhn-mnist")])
    h2 = overall(ledger)["H2"]
    assert h2.effect > 0.2
    assert h2.decision == "undecided"
    assert "but svhn → mnist refuted" in h2.reason
    alone = {one.pair: one.decision for one in ledger if one.claim == "H2" and one.pair}
    assert alone == {"mnist → usps": "supported", "svhn → mnist": "refuted"}


def test_a_pair_that_cannot_be_judged_is_said() -> None:
    black, white = seeds(BLACK), seeds(WHITE)
    red = results(black, white, pair="svhn-mnist", levels={("finetune", "white", 0): "red"})
    h1 = overall(judge([*results(black, white), *red]))["H1"]
    assert h1.decision == "supported"
    assert "Without 1 of 2 pairs, since 1 of its cells are red" in h1.reason


def test_claims_of_one_place_are_one_family() -> None:
    """The p-values are Holm's of those that the tests alone would give."""
    found = [one for one in judge(TWO_SIDES) if one.pair]
    assert sorted(one.p for one in found) == sorted(
        one.p for one in overall(judge(TWO_SIDES)).values() if one.p == one.p
    )
    assert max(one.p for one in found) <= 0.05


def test_holm_equals_the_definition() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_nothing_has_run() -> None:
    assert judge([]) == ()


@pytest.mark.parametrize("name", CLAIMS.names())
def test_a_claim_says_what_it_says_in_one_sentence_and_where_it_is_from(name: str) -> None:
    claim = CLAIMS[name]
    assert claim.says.endswith(".")
    assert claim.source
    assert (claim.place is None) != (claim.bench is None)
