from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.chain import (
    COULD_NOT_VERIFY,
    DAMAGED_BACKUP,
    ENDS,
    RECOVERED,
    START,
    TRIAGE,
    AttemptHistory,
    History,
    Move,
    Outcome,
    Rung,
    Step,
    edges,
    legal,
    next_step,
    outcome,
    place,
    retry_here,
    states,
    unroll,
)
from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.domain.signatures import SIGNATURES, Domain, Recoverability
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict

TIERS = (("primary", "staging", 1), ("secondary", "isolated", 0), ("cold", "cold_storage", 0))
RUNGS = unroll(TIERS, 5)
STAGES = tuple(stage for stage in StageName if stage is not StageName.TEARDOWN)
GONE = StageResult(stage=StageName.TEARDOWN, verdict=Verdict.PASSED)


def passed(stage: StageName) -> StageResult:
    return StageResult(stage=stage, verdict=Verdict.PASSED)


def failed(
    stage: StageName, code: str | None, *, verdict: Verdict = Verdict.FAILED, tries: int = 99, detail: str = ""
) -> StageResult:
    return StageResult(stage=stage, verdict=verdict, signature=code, tries=tries, detail=detail)


def attempt(rung: int, code: str | None, stage: StageName = StageName.RESTORE, **fields: object) -> AttemptHistory:
    """An attempt that failed at a stage, or passed the gate when there is no code, torn down after."""
    before = tuple(passed(earlier) for earlier in STAGES[: STAGES.index(stage)])
    end = passed(StageName.VALIDATE) if code is None else failed(stage, code, **fields)  # type: ignore[arg-type]
    candidate = None if code is not None and stage is StageName.SELECT else f"b{rung}"
    return AttemptHistory(rung=rung, candidate=candidate, results=(*before, end, GONE))


def step(*history: AttemptHistory, rungs: tuple[Rung, ...] = RUNGS) -> Step:
    found = next_step(rungs, history)
    assert legal(rungs, found)
    return found


# -- rungs -----------------------------------------------------------------------------------------------------------------
def test_rungs_are_one_a_tier_and_then_the_last_again() -> None:
    assert [(place(rung), rung.index, rung.role, rung.retries) for rung in RUNGS] == [
        ("primary", 0, "staging", 1),
        ("secondary", 1, "isolated", 0),
        ("cold", 2, "cold_storage", 0),
        ("cold#2", 3, "cold_storage", 0),
        ("cold#3", 4, "cold_storage", 0),
    ]
    assert len(unroll(TIERS, 1)) == 3
    assert [place(rung) for rung in unroll(TIERS[:1], 3)] == ["primary", "primary#2", "primary#3"]
    with pytest.raises(ValueError, match="tier"):
        unroll((), 3)


# -- within an attempt -------------------------------------------------------------------------------------------------------
def test_an_attempt_goes_on_stage_by_stage() -> None:
    assert (step().move, step().destination, step().rung) == (Move.NEXT_RUNG, "primary", 0)
    for end in range(len(STAGES)):
        so_far = AttemptHistory(rung=0, candidate="b", results=tuple(passed(stage) for stage in STAGES[:end]))
        found = step(so_far)
        assert (found.move, found.source, found.destination, found.rung) == (Move.CONTINUE, "primary", "primary", 0)


def test_the_gate_ends_it_whatever_teardown_says() -> None:
    for teardown in ((), (GONE,), (failed(StageName.TEARDOWN, "CLEANUP_FAILED"),)):
        found = step(AttemptHistory(rung=0, candidate="b", results=(passed(StageName.VALIDATE), *teardown)))
        assert (found.move, found.destination, found.reason, found.rung) == (Move.DONE, RECOVERED, "passed", None)


@pytest.mark.parametrize(
    ("code", "tries", "retries", "expected"),
    [
        ("SERVER_DIED", 1, 1, True),
        ("SERVER_DIED", 2, 1, False),
        ("SERVER_DIED", 1, 0, False),
        ("SERVER_DIED", 2, 2, True),
        ("BACKUP_CHECKSUM_MISMATCH", 1, 9, False),
        ("SMOKE_ERROR", 1, 9, False),
        (None, 1, 9, False),
    ],
)
def test_only_what_may_heal_is_tried_again(code: str | None, tries: int, retries: int, expected: bool) -> None:
    rung = unroll((("primary", "staging", retries),), 2)[0]
    result = failed(StageName.PROVISION, code, tries=tries)
    assert retry_here(result, rung) is expected
    found = next_step(
        unroll((("primary", "staging", retries),), 2), (AttemptHistory(rung=0, candidate="b", results=(result,)),)
    )
    assert (found.move is Move.RETRY) is expected


def test_what_passed_or_is_torn_down_is_not_tried_again() -> None:
    assert not retry_here(passed(StageName.PROVISION), RUNGS[0])
    assert step(attempt(0, "SERVER_DIED", tries=1)).move is Move.NEXT_RUNG


# -- between attempts ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", sorted(SIGNATURES))
def test_every_signature_moves_on_by_its_domain(code: str) -> None:
    domain = SIGNATURES[code].domain
    found = step(attempt(0, code))
    assert (found.move, found.destination, found.reason) == (Move.NEXT_RUNG, "secondary", code)
    assert found.quarantine == ("b0" if domain is Domain.BACKUP else None)
    assert found.refuse == (domain in (Domain.BACKUP, Domain.DATA))
    # On the last tier only another backup, or another way through the archive, is worth another attempt.
    history = (attempt(0, "DISK_FULL"), attempt(1, "DISK_FULL"), attempt(2, code))
    again = domain in (Domain.BACKUP, Domain.DATA, Domain.ARCHIVE)
    assert step(*history).destination == ("cold#2" if again else TRIAGE)


@pytest.mark.parametrize("code", ["NO_CANDIDATE", "RPO_EXCEEDED", "WAL_HOLE", "TARGET_UNREACHABLE"])
def test_a_selection_without_a_candidate_is_not_asked_again_on_the_same_tier(code: str) -> None:
    assert step(attempt(0, code, StageName.SELECT)).destination == "secondary"
    found = step(attempt(0, code, StageName.SELECT), attempt(1, code, StageName.SELECT), attempt(2, code, StageName.SELECT))
    assert (found.move, found.destination, found.refuse, found.quarantine) == (Move.TRIAGE, TRIAGE, False, None)


def test_the_backup_that_a_fault_lies_in_is_quarantined_be_it_the_candidates_base() -> None:
    failure = failed(StageName.RESTORE, "BACKUP_CHECKSUM_MISMATCH").model_copy(update={"facts": {DAMAGED_BACKUP: "full"}})
    found = step(AttemptHistory(rung=0, candidate="incremental", results=(failure,)))
    assert (found.quarantine, found.refuse) == ("full", True)
    own = failure.model_copy(update={"facts": {DAMAGED_BACKUP: "incremental"}})
    assert step(AttemptHistory(rung=0, candidate="incremental", results=(own,))).quarantine == "incremental"


def test_a_backup_that_could_not_be_judged_is_refused_and_not_quarantined() -> None:
    found = step(attempt(0, "BACKUP_UNREADABLE", verdict=Verdict.COULD_NOT_VERIFY))
    assert found.refuse
    assert found.quarantine is None


def test_the_end_below_the_last_rung() -> None:
    history = tuple(attempt(index, "BACKUP_FILE_SIZE") for index in range(5))
    found = step(*history)
    assert (found.move, found.destination, found.rung) == (Move.TRIAGE, TRIAGE, None)
    assert (found.quarantine, found.refuse) == ("b4", True)


def test_nothing_could_be_judged() -> None:
    unsure = [attempt(index, "NO_DATA_CHECK", verdict=Verdict.COULD_NOT_VERIFY) for index in range(3)]
    found = step(*unsure)
    assert (found.move, found.destination) == (Move.DONE, COULD_NOT_VERIFY)
    unsure[1] = attempt(1, "DATA_STALE")
    assert step(*unsure).destination == TRIAGE


def test_an_attempt_that_was_cut_off_moves_on() -> None:
    cut = AttemptHistory(rung=0, candidate="b", results=(passed(StageName.SELECT), GONE))
    found = step(cut)
    assert (found.move, found.reason, found.refuse) == (Move.NEXT_RUNG, "INTERRUPTED", False)


def test_a_failure_without_a_signature_is_the_drills_own() -> None:
    assert step(attempt(0, None, StageName.RESTORE)).destination == RECOVERED
    nameless = AttemptHistory(rung=0, candidate="b", results=(failed(StageName.RESTORE, None), GONE))
    assert step(nameless).reason == "STAGE_BROKEN"
    with pytest.raises(KeyError):
        next_step(RUNGS, (attempt(0, "NO_SUCH_CODE"),))


# -- outcomes ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("history", "fields", "expected", "code"),
    [
        ((attempt(0, None),), {}, Outcome.RECOVERED, ExitCode.RECOVERED),
        ((attempt(0, None),), {"rto_met": None}, Outcome.RECOVERED, ExitCode.RECOVERED),
        ((attempt(0, None),), {"rto_met": False}, Outcome.RECOVERED_DEGRADED, ExitCode.RECOVERED_DEGRADED),
        ((attempt(0, None),), {"short": True}, Outcome.RECOVERED_DEGRADED, ExitCode.RECOVERED_DEGRADED),
        ((attempt(0, "DISK_FULL"), attempt(1, None)), {}, Outcome.RECOVERED_DEGRADED, ExitCode.RECOVERED_DEGRADED),
        ((attempt(1, None),), {}, Outcome.RECOVERED_DEGRADED, ExitCode.RECOVERED_DEGRADED),
        ((attempt(0, "DISK_FULL"),), {}, Outcome.MANUAL_TRIAGE, ExitCode.MANUAL_TRIAGE),
        (
            (attempt(0, "NO_REFERENCE", verdict=Verdict.COULD_NOT_VERIFY),),
            {},
            Outcome.COULD_NOT_VERIFY,
            ExitCode.COULD_NOT_VERIFY,
        ),
        (
            (AttemptHistory(rung=0, results=(passed(StageName.SELECT),)),),
            {},
            Outcome.COULD_NOT_VERIFY,
            ExitCode.COULD_NOT_VERIFY,
        ),
        ((), {}, Outcome.COULD_NOT_VERIFY, ExitCode.COULD_NOT_VERIFY),
    ],
)
def test_outcomes(history: History, fields: dict[str, bool | None], expected: Outcome, code: ExitCode) -> None:
    arguments = {"rto_met": True, "short": False, **fields}
    found, exit_code, reasons = outcome(RUNGS, history, leftovers=0, **arguments)  # type: ignore[arg-type]
    assert (found, exit_code) == (expected, code)
    assert bool(reasons) == (expected is not Outcome.RECOVERED)
    left, left_code, left_reasons = outcome(RUNGS, history, leftovers=2, **arguments)  # type: ignore[arg-type]
    assert (left, left_code) == (expected, ExitCode.CLEANUP_FAILED)
    assert left_reasons == (*reasons, "Left behind: 2 resources.")


def test_cleanup_that_failed_does_not_change_the_outcome() -> None:
    history = (
        AttemptHistory(
            rung=0, candidate="b", results=(passed(StageName.VALIDATE), failed(StageName.TEARDOWN, "CLEANUP_FAILED"))
        ),
    )
    assert outcome(RUNGS, history, leftovers=1, rto_met=True, short=False)[:2] == (Outcome.RECOVERED, ExitCode.CLEANUP_FAILED)


# -- laws ----------------------------------------------------------------------------------------------------------------------
ends_of_stages = st.builds(
    failed,
    st.sampled_from(STAGES),
    st.sampled_from([*sorted(SIGNATURES), None]),
    verdict=st.sampled_from([Verdict.FAILED, Verdict.COULD_NOT_VERIFY]),
    tries=st.integers(1, 4),
)
chains = st.builds(
    unroll,
    st.integers(1, 4).flatmap(
        lambda count: st.tuples(
            *(st.tuples(st.just(f"t{index}"), st.just("staging"), st.integers(0, 2)) for index in range(count))
        )
    ),
    st.integers(1, 7),
)


@settings(max_examples=300, deadline=None)
@given(chains, st.data())
def test_every_chain_ends_below_its_last_rung_by_legal_moves(rungs: tuple[Rung, ...], data: st.DataObject) -> None:
    history: list[AttemptHistory] = []
    found, moves, visited = next_step(rungs, ()), 0, [START]
    while found.destination not in ENDS:
        assert legal(rungs, found)
        assert found.source == visited[-1]
        visited.append(found.destination)
        assert found.rung is not None
        moves += 1
        candidate = data.draw(st.sampled_from([None, "a", "b"]))
        end = data.draw(st.one_of(ends_of_stages, st.just(passed(StageName.VALIDATE)), st.none()))
        results = (() if end is None else (end,)) + (GONE,)
        history.append(AttemptHistory(rung=found.rung, candidate=candidate, results=results))
        found = next_step(rungs, tuple(history))
    assert legal(rungs, found)
    assert moves <= len(rungs)
    assert len(set(visited)) == len(visited)
    proved, code, _ = outcome(rungs, tuple(history), leftovers=0, rto_met=None, short=False)
    assert (found.destination == RECOVERED) == (proved in (Outcome.RECOVERED, Outcome.RECOVERED_DEGRADED))
    assert (found.destination == TRIAGE) == (code == ExitCode.MANUAL_TRIAGE)
    assert (proved is Outcome.RECOVERED) == (found.destination == RECOVERED and moves == 1)


@given(chains, ends_of_stages)
def test_retries_on_the_spot_end(rungs: tuple[Rung, ...], result: StageResult) -> None:
    healing = SIGNATURES[result.signature or "STAGE_BROKEN"].recoverability is Recoverability.SELF_HEALING
    tries = list(
        itertools.takewhile(lambda n: retry_here(result.model_copy(update={"tries": n}), rungs[0]), itertools.count(1))
    )
    assert len(tries) == (rungs[0].retries if healing else 0)


@given(chains)
def test_the_table_of_transitions(rungs: tuple[Rung, ...]) -> None:
    table, names = edges(rungs), states(rungs)
    assert len(set(names)) == len(names)
    assert {edge.source for edge in table} | {edge.destination for edge in table} == set(names)
    assert not {edge.source for edge in table} & set(ENDS)
    for edge in table:
        assert names.index(edge.destination) >= names.index(edge.source)
    assert not legal(rungs, Step(move=Move.NEXT_RUNG, source=place(rungs[0]), destination=START, reason="x"))
