# SPDX-License-Identifier: GPL-3.0-or-later
"""Every invariant and every condition of the verdict: holds on the sample drill, breaks on its mutants, and says
"not observed" when what it needs was not delivered."""

from __future__ import annotations

import copy
from typing import Any, Callable

import pytest
import report
import report_findings as findings
import samples
from samples import ADDRESS, NEW, NEW_MAC, OLD, OLD_MAC, ORIGIN, THIRD

Mutation = Callable[[dict[str, Any], list[dict[str, Any]]], Any]


def drill_of(document: dict[str, Any], seen: list[dict[str, Any]]) -> findings.Drill:
    return findings.Drill(document, document.get("checker") or {}, report.read_samples(seen))


def mutant(
    change: Mutation, original: Callable[[], Any] = lambda: (samples.document(), samples.samples())
) -> findings.Drill:
    document, seen = copy.deepcopy(original())
    change(document, seen)
    return drill_of(document, seen)


def nothing(_document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
    """The mutation that changes nothing."""


def put(*path: Any) -> Mutation:
    """Set the value (the last element) at a path of keys and indexes of the document."""

    def change(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
        *keys, last, value = path
        target: Any = document
        for key in keys:
            target = target[key]
        target[last] = value

    return change


def seen_between(begin: float, end: float, change: Callable[[dict[str, Any]], None]) -> Mutation:
    """Change every sample taken after `begin` and before `end` seconds."""

    def apply(_document: dict[str, Any], seen: list[dict[str, Any]]) -> None:
        for one in seen:
            if begin < one["wall"] - ORIGIN < end:
                change(one)

    return apply


def two_holders(one: dict[str, Any]) -> None:
    one["addresses"][ADDRESS]["macs"] = [OLD_MAC, NEW_MAC]


def nobody_holds(one: dict[str, Any]) -> None:
    one["addresses"][ADDRESS]["macs"] = []


def old_writable(one: dict[str, Any]) -> None:
    one["hosts"]["db1"] = samples.host(OLD, True)


def cut(begin: float, end: float) -> Mutation:
    """Forget the samples of a stretch."""

    def change(_document: dict[str, Any], seen: list[dict[str, Any]]) -> None:
        seen[:] = [one for one in seen if not begin < one["wall"] - ORIGIN < end]

    return change


def without_evidence(key: str, value: Any) -> Mutation:
    def change(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
        proof = document["failover"]["proof"]
        proof["evidence"] = [fact for fact in proof["evidence"] if fact[key] != value]

    return change


def blank_in_evidence(key: str) -> Mutation:
    return lambda document, _seen: document["failover"]["proof"]["evidence"][3].pop(key)


def no_errant(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
    document["rejoin"] = {"how": "nothing", "errant": "", "archive": None}


def written_otherwise(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
    document["rejoin"]["archive"]["manifest"]["found"] = f"{OLD.upper()}:24990,\n{OLD}:24989"


def planned(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
    """A switchover: nobody is frozen, for the old primary itself says what it executed."""
    document["fault"] = None
    document["failover"].update(mode="planned", errant={})
    document["failover"]["proof"].update(
        frozen=[],
        evidence=[
            {"claim": "contains", "server_uuid": OLD, "value": {"executed_by_old_primary": f"{OLD}:1-9"}, "at": ORIGIN},
            {"claim": "applied", "server_uuid": NEW, "value": {"executed": f"{OLD}:1-10"}, "at": ORIGIN},
        ],
    )


def both(first: Mutation, second: Mutation) -> Mutation:
    def change(document: dict[str, Any], seen: list[dict[str, Any]]) -> None:
        first(document, seen)
        second(document, seen)

    return change


def overridden(document: dict[str, Any], _seen: list[dict[str, Any]]) -> None:
    document["expectation"] = "unproven"
    document["failover"].update(zero_loss="unproven", override_by="A. Person")
    document["failover"]["proof"]["evidence"] = []


PRIMARY = ("checker", "servers", 0)
PROOF = ("failover", "proof")
INVARIANTS: list[tuple[str, Mutation, Any]] = [
    ("no_acknowledged_transaction_lost", put(*PRIMARY, "lost", samples.listed(7)), False),
    ("no_acknowledged_transaction_lost", put("checker", None), None),
    ("no_acknowledged_transaction_lost", put(*PRIMARY, "lost", None), None),
    ("no_acknowledged_transaction_lost", put(*PRIMARY, "role", "replica"), None),
    ("no_acknowledged_transaction_lost", put("checker", "counts", "acknowledged", 999), None),
    (
        "deposed_primary_never_acknowledges",
        put("checker", "deposed", "started_after_new_primary", samples.listed(7)),
        False,
    ),
    (
        "deposed_primary_never_acknowledges",
        put("checker", "deposed", "acknowledged_after_promotion", samples.listed(7)),
        False,
    ),
    ("deposed_primary_never_acknowledges", put("checker", "deposed", "started_after_new_primary", None), None),
    ("deposed_primary_never_acknowledges", put("checker", "deposed", "acknowledged_after_promotion", None), None),
    ("deposed_primary_never_acknowledges", put("checker", "deposed", "acknowledged", 0), None),
    ("deposed_primary_never_acknowledges", put("checker", None), None),
    ("at_most_one_reachable_writable", seen_between(20, 20.11, old_writable), False),
    ("at_most_one_reachable_writable", cut(2, 26), None),
    ("at_most_one_reachable_writable", cut(15, 17), None),
    ("at_most_one_reachable_writable", cut(-1, 12.5), None),
    ("at_most_one_reachable_writable", cut(12.9, 30), None),
    ("at_most_one_reachable_writable", lambda _document, seen: seen.clear(), None),
    ("at_most_one_reachable_writable", seen_between(-1, 30, lambda one: one.update(hosts={})), None),
    ("errant_found_archived_named", put("rejoin", "archive", None), False),
    ("errant_found_archived_named", put("rejoin", "archive", "path", ""), False),
    ("errant_found_archived_named", put("rejoin", "archive", "manifest", {}), False),
    ("errant_found_archived_named", put("rejoin", "archive", "manifest", "found", f"{OLD}:24989"), False),
    ("errant_found_archived_named", put("checker", "servers", 2, "not_on_primary", samples.listed(7)), False),
    ("errant_found_archived_named", put("rejoin", None), None),
    ("errant_found_archived_named", put("rejoin", "errant", None), None),
    ("errant_found_archived_named", no_errant, True),
    ("errant_found_archived_named", written_otherwise, True),
    ("one_holder_of_the_address", seen_between(20, 22, two_holders), False),
    ("one_holder_of_the_address", seen_between(20, 21, two_holders), True),
    ("one_holder_of_the_address", seen_between(-1, 12, nobody_holds), None),
    ("one_holder_of_the_address", seen_between(12.8, 30, nobody_holds), None),
    ("one_holder_of_the_address", put("address_lease_ms", None), None),
    ("one_holder_of_the_address", seen_between(-1, 30, lambda one: one.update(addresses={})), None),
    ("one_holder_of_the_address", cut(15, 17), None),
    ("nothing_promoted_unproven", put("failover", "zero_loss", "unproven"), False),
    ("nothing_promoted_unproven", put("failover", "zero_loss", None), False),
    ("nothing_promoted_unproven", put("failover", None), None),
    *[
        ("nothing_promoted_unproven", put(*PROOF, key, None), False)
        for key in ("n", "k", "frozen", "required", "testimony", "evidence")
    ],
    ("nothing_promoted_unproven", put(*PROOF, "frozen", [NEW]), False),
    ("nothing_promoted_unproven", put(*PROOF, "required", 1), False),
    ("nothing_promoted_unproven", put(*PROOF, "testimony", "holds", False), False),
    ("nothing_promoted_unproven", put(*PROOF, "missing", [{"claim": "kept", "message": "db3 may lose"}]), False),
    *[("nothing_promoted_unproven", without_evidence("claim", claim), False) for claim in findings.CLAIMS],
    ("nothing_promoted_unproven", without_evidence("server_uuid", NEW), False),
    *[("nothing_promoted_unproven", blank_in_evidence(key), False) for key in ("server_uuid", "value", "at")],
    ("nothing_promoted_unproven", overridden, True),
    ("nothing_promoted_unproven", both(overridden, put("failover", "override_by", None)), False),
    ("nothing_promoted_unproven", planned, True),
    *[
        ("nothing_promoted_unproven", both(planned, change), False)
        for change in (
            put(*PROOF, "n", None),
            without_evidence("claim", "contains"),
            without_evidence("claim", "applied"),
            put(*PROOF, "evidence", 0, "server_uuid", THIRD),
            put(*PROOF, "evidence", 1, "server_uuid", OLD),
            put(*PROOF, "evidence", 1, "at", None),
            put(*PROOF, "evidence", 1, "value", "executed", f"{OLD}:1-8"),
            put(*PROOF, "missing", [{"claim": "applied", "message": "not all"}]),
        )
    ],
]

CONDITIONS: list[tuple[str, Mutation, Any]] = [
    ("result_as_expected", put("expectation", "refuse"), False),
    ("result_as_expected", put("expectation", "party"), None),
    ("result_as_expected", put("failover", None), None),
    ("result_as_expected", put("failover", "refused", True), False),
    ("zero_loss_as_expected", put("failover", "zero_loss", "unproven"), False),
    ("zero_loss_as_expected", put("failover", "zero_loss", None), None),
    ("zero_loss_as_expected", put(*PRIMARY, "lost", samples.listed(7)), False),
    ("zero_loss_as_expected", overridden, True),
    ("enough_acknowledgements", put("checker", "counts", "acknowledged", 999), False),
    ("enough_acknowledgements", put("checker", None), None),
    ("writer_log_whole", put("checker", "log", "complete", False), False),
    ("writer_log_whole", put("checker", "log", "malformed", 1), False),
    ("writer_log_whole", put("checker", "log", "ids_logged_twice", 1), False),
    ("writer_log_whole", put("checker", "log", None), None),
    ("acknowledged_once", put("checker", "duplicate_acknowledgements", samples.listed(7)), False),
    ("acknowledged_once", put("checker", None), None),
    ("writes_resumed", put("checker", "outage", "first_after", None), None),
    ("writes_resumed", put("checker", "outage", "write_outage_ms", None), None),
    ("replicas_complete", put("checker", "servers", 1, "caught_up", False), False),
    ("replicas_complete", put("checker", "servers", 1, "lost", samples.listed(7)), False),
    ("replicas_complete", put("checker", "servers", 1, "error", {"number": 2003, "text": "gone"}), None),
    ("replicas_complete", lambda document, _seen: document["checker"]["servers"].__delitem__(slice(1, None)), None),
    *[
        ("rows_explained", put("checker", "servers", 1, kind, samples.listed(7)), False)
        for kind in ("phantom", "alien", "altered")
    ],
    ("rows_explained", put("checker", "servers", []), None),
    ("balances_agree", put("checker", "servers", 1, "balances", "mismatches", samples.listed({"account": 1})), False),
    ("balances_agree", put("checker", "servers", []), None),
]


def test_the_sample_drill_passes() -> None:
    result = report.assemble(mutant(nothing))
    assert (result["verdict"], result["reasons"]) == ("pass", [])
    assert [finding["holds"] for finding in result["invariants"] + result["conditions"]] == [True] * 15


def test_the_sample_refusal_passes() -> None:
    result = report.assemble(mutant(nothing, samples.refusal))
    assert (result["verdict"], result["reasons"]) == ("pass", [])
    assert result["write_outage_ms"] is None and result["refusal"]["refused"] is True


@pytest.mark.parametrize(("name", "change", "holds"), INVARIANTS + CONDITIONS)
def test_a_mutant_changes_the_answer_and_the_verdict(name: str, change: Mutation, holds: Any) -> None:
    drill = mutant(change)
    finding = getattr(findings, name)(drill)
    assert finding.name == name
    assert finding.holds is holds, finding.evidence
    result = report.assemble(drill)
    if holds is not True:
        assert result["verdict"] == "fail"
        assert any(reason.startswith(name + ": ") for reason in result["reasons"])
        assert any("not observed" in reason for reason in result["reasons"]) or holds is False


def test_every_function_has_a_mutant_that_breaks_it_and_one_that_blinds_it() -> None:
    told = {(name, holds) for name, _change, holds in INVARIANTS + CONDITIONS}
    never_false = {"writes_resumed"}  # either it was seen or it was not
    for evaluate in (*findings.INVARIANTS, *findings.CONDITIONS):
        assert (evaluate.__name__, None) in told
        assert (evaluate.__name__, False) in told or evaluate.__name__ in never_false


@pytest.mark.parametrize(
    ("name", "change", "holds"),
    [
        ("nothing_promoted_unproven", put("failover", "reasons", []), None),
        ("nothing_promoted_unproven", put("failover", "refused", False), None),
        ("nothing_promoted_unproven", put("checker", "acknowledged_by_server", NEW, {"count": 3}), False),
        ("nothing_promoted_unproven", put("checker", "acknowledged_by_server", {}), None),
        ("deposed_primary_never_acknowledges", put("checker", "acknowledged_by_server", NEW, {"count": 3}), False),
        ("result_as_expected", put("failover", "refused", False), False),
        ("result_as_expected", put("failover", "new_primary", "db2"), False),
        ("no_acknowledged_transaction_lost", put(*PRIMARY, "lost", samples.listed(7)), False),
        ("zero_loss_as_expected", put("failover", "zero_loss", "violated"), False),
    ],
)
def test_mutants_of_a_refusal(name: str, change: Mutation, holds: Any) -> None:
    drill = mutant(change, samples.refusal)
    assert getattr(findings, name)(drill).holds is holds
    assert report.assemble(drill)["verdict"] == "fail"


def test_a_loss_after_a_proof_is_a_violation() -> None:
    result = report.assemble(mutant(put(*PRIMARY, "lost", samples.listed(7, 8))))
    assert (result["zero_loss"], result["lost"], result["verdict"]) == ("violated", 2, "fail")


def test_an_honest_unproven_may_lose_but_a_dishonest_one_may_not() -> None:
    def lose(document: dict[str, Any], seen: list[dict[str, Any]]) -> None:
        overridden(document, seen)
        for server in document["checker"]["servers"]:
            server["lost"] = samples.listed(7)

    def lie(document: dict[str, Any], seen: list[dict[str, Any]]) -> None:
        lose(document, seen)
        document["failover"]["zero_loss"] = "proven"

    honest = report.assemble(mutant(lose))
    assert (honest["verdict"], honest["zero_loss"], honest["lost"]) == ("pass", "unproven", 1)
    assert honest["invariants"][0]["holds"] is False
    dishonest = report.assemble(mutant(lie))
    assert (dishonest["verdict"], dishonest["zero_loss"]) == ("fail", "violated")


def test_a_planned_change_passes_and_is_shown_from_its_beginning() -> None:
    result = report.assemble(mutant(planned))
    assert (result["verdict"], result["reasons"]) == ("pass", [])
    assert result["timeline"]["fault_ms"] is None and result["timeline"]["failover_started_ms"] == 12_310


def test_moments_may_come_as_text_and_zero_is_none() -> None:
    text = report.assemble(
        mutant(both(put("fault", "at", str(ORIGIN + 12)), put("failover", "promoted_at", f"{ORIGIN + 12.84}")))
    )
    assert (text["verdict"], text["timeline"]["fault_ms"]) == ("pass", 12_000)
    assert report.assemble(mutant(put("failover", "promoted_at", 0.0)))["timeline"]["promoted_ms"] is None


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("u:1-3", "u:1-5", True),
        ("u:1-3", "u:1-2:4", False),
        ("", "u:1", True),
        ("u:1", "", False),
        ("u:t:1", "u:1", False),
        ("u:1:3,v:2", "v:1-9,u:1-9", True),
    ],
)
def test_containment(inner: str, outer: str, within: bool) -> None:
    assert findings.contained(findings.normal_gtid_set(inner), findings.normal_gtid_set(outer)) is within


def test_errant_may_come_by_server() -> None:
    assert findings.gtid_text({"db1": "u:1", "db2": "", "db3": "v:2"}) == "u:1,v:2"
    assert (findings.gtid_text({}), findings.gtid_text(None), findings.gtid_text("u:1")) == ("", None, "u:1")


def test_nothing_at_all_proves_nothing() -> None:
    result = report.assemble(findings.Drill({}))
    assert result["verdict"] == "fail"
    assert not any(finding["holds"] for finding in result["invariants"])


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([0, 1, 0], [200]),
        ([1, 0], [100]),
        ([0, 1, 1], [200]),
        ([1], [1]),
        ([0, 1, 0, 1, 1, 0], [200, 300]),
    ],
)
def test_a_span_counts_to_the_samples_around_it(moments: list[int], expected: list[float]) -> None:
    seen = [findings.Sample(index / 10, 0, {}, {"a": ("x",) * (1 + moment)}) for index, moment in enumerate(moments)]
    spans = findings.spans_of(seen, lambda one: len(one.addresses["a"]) > 1)
    assert spans == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("u:1-3", "U:1-2:3", True),
        ("u:1-3,v:7", "v:7,\n u:1-3", True),
        ("u:tag:1-3", "u:1-3", False),
        ("u:1:tag:2-3:4", "u:tag:2-4,u:1", True),
        ("u:1-3", "u:1-4", False),
        ("", "", True),
        ("u:1", "", False),
    ],
)
def test_gtid_sets_are_compared_as_sets(one: str, other: str, same: bool) -> None:
    assert (findings.normal_gtid_set(one) == findings.normal_gtid_set(other)) is same
