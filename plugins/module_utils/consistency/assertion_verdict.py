# SPDX-License-Identifier: BSD-2-Clause
"""What the results of an assertion mean. Pure.

**What is the same.** Results are multisets of rows: the order never matters, not even with ORDER BY, because rows that
the ORDER BY does not tell apart may come in any order. Whole numbers and decimals are compared by their exact value
(1.0 is 1.00), NULL is only NULL, texts and bytes by every character and byte. Floating point numbers of a result are
the same when they differ by ``FLOAT_RELATIVE`` at most: their sums depend on the order in which rows are read.

**Tolerance.** Rows are paired by their columns that hold no numbers; the numbers of a pair may differ by the tolerance,
reckoned exactly. A row that only one side has is a difference, however small its numbers are.

**Why one difference means nothing.** The replica has executed all that the primary had when it was read, and maybe
more; and a commit is visible a moment before its GTID is told. So a difference counts after ``CONFIRMED_BY`` rounds in
a row in all of which the primary's own result, read before and after the replica, was the same one (``Settling``). The
same once is enough: see rejoin/compare.py, which argues it for rows.

A violation of ``zero_rows`` on the primary needs no second look: it was read in one snapshot of committed rows.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import decimal
import fractions
import hashlib
import hmac
import math
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from .assertions import TOLERANCE, ZERO_ROWS, Assertion, Tolerance
from .findings import DIFFERENT, ERROR, LAGGING, PASS, SKIPPED, UNSTABLE

VERDICTS = (PASS, DIFFERENT, UNSTABLE, LAGGING, SKIPPED, ERROR)
"""Only pass is pass."""

CONFIRMED_BY = 2
"""Rounds in a row in which a result must differ, with the primary's unchanged, before it counts."""
FLOAT_RELATIVE = 1e-9
MOST_LISTED = 20
"""Differences that are listed; the rest is counted."""
LONGEST_SHOWN = 200
"""Characters of a value that is shown."""

# Kinds of differences.
COLUMNS, MISSING, EXTRA, VALUE, VIOLATION = "columns", "missing", "extra", "value", "violation"

Row = tuple[Any, ...]
Cell = tuple[str, Any]
Key = tuple[Any, ...]

_NULL, _NUMBER = "null", "number"


@dataclasses.dataclass(frozen=True)
class Result:
    """What one side answered, in the types of ``Session.query_exact``.

    :param more: there were more rows than the assertion's ``max_rows``.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: bool = False


@dataclasses.dataclass(frozen=True)
class Difference:
    """One row that is not as expected.

    :param kind: ``columns`` (their names or number), ``missing`` (only the primary has the row), ``extra`` (only the
        replica), ``value`` (a pair of rows differs), ``violation`` (a row where there should be none).
    :param columns: names of the columns that differ; ``names``: of all columns of the rows.
    """

    kind: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    primary: Optional[Row] = None
    replica: Optional[Row] = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two results, or one, come to.

    :param count: all differences; ``differences`` lists at most ``MOST_LISTED``.
    :param incomparable: why nothing can be said; empty: it could be compared. ``verdict`` of that: skipped or error.
    """

    count: int
    differences: tuple[Difference, ...] = ()
    incomparable: str = ""
    verdict: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One assertion on one server.

    :param side: ``primary`` or ``replica``; ``member``: the server's name.
    :param verdict: one of ``VERDICTS``.
    :param reason: one sentence; empty when it passed. Without values, unless they are revealed.
    :param rounds: how often the server was read.
    :param rows: rows of the last results by side, where they are known.
    :param count: differences; ``evidence`` shows at most ``MOST_LISTED`` of them, see ``shown``.
    :param errno: MySQL's number of an error, or 0.
    """

    assertion: str
    expect: str
    severity: str
    side: str
    member: str
    verdict: str
    reason: str = ""
    rounds: int = 0
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    count: int = 0
    evidence: tuple[Mapping[str, Any], ...] = ()
    errno: int = 0

    def as_result(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "rows": dict(self.rows),
            "evidence": [dict(each) for each in self.evidence],
        }


# --- cells ----------------------------------------------------------------------------------------------------------


def cell(value: Any) -> Cell:
    """A value with its kind: values of two kinds are never the same, whatever they look like."""
    if value is None:
        return (_NULL, None)
    if isinstance(value, (int, float, decimal.Decimal)):
        # Python compares these by their exact values among each other, and hashes them alike.
        return (_NUMBER, value)
    # Text, bytes, date, datetime, timedelta: each is like its own kind only.
    return (type(value).__name__, value)


def _cells(row: Row) -> tuple[Cell, ...]:
    return tuple(cell(value) for value in row)


def _numeric(value: Any) -> bool:
    return cell(value)[0] == _NUMBER


def _close(ours: Any, theirs: Any) -> bool:
    """Two values are the same, floating point numbers nearly."""
    if cell(ours) == cell(theirs):
        return True
    if not (_numeric(ours) and _numeric(theirs)) or not (isinstance(ours, float) or isinstance(theirs, float)):
        return False
    return math.isclose(float(ours), float(theirs), rel_tol=FLOAT_RELATIVE, abs_tol=0.0)


def within(primary: Any, replica: Any, tolerance: Tolerance) -> bool:
    """Whether two numbers differ by the tolerance at most, reckoned exactly. NULL is near NULL only."""
    if primary is None or replica is None:
        return primary is replica
    ours, theirs = fractions.Fraction(primary), fractions.Fraction(replica)
    if tolerance.percent is not None:
        allowed = abs(ours) * fractions.Fraction(tolerance.percent) / 100
    else:
        allowed = fractions.Fraction(tolerance.absolute or 0)
    return abs(ours - theirs) <= allowed


# --- comparing ------------------------------------------------------------------------------------------------------


def compare(assertion: Assertion, primary: Result, replica: Result) -> Comparison:
    """Two sides' results, of an assertion that expects ``equal`` or ``tolerance``."""
    if primary.more or replica.more:
        why = f"more than {assertion.max_rows} rows, so not all were compared"
        return Comparison(0, incomparable=why, verdict=SKIPPED)
    if primary.columns != replica.columns:
        names = tuple(dict.fromkeys((*primary.columns, *replica.columns)))
        return Comparison(1, (Difference(COLUMNS, names, names, primary.columns, replica.columns),))
    if assertion.expect == TOLERANCE and assertion.tolerance is not None:
        return _compare_near(primary, replica, assertion.tolerance)
    return _compare_equal(primary, replica)


def violations(result: Result, *, on_primary: bool) -> Comparison:
    """The rows of an assertion that expects none."""
    listed = tuple(
        Difference(VIOLATION, result.columns, result.columns, row if on_primary else None, None if on_primary else row)
        for row in result.rows[:MOST_LISTED]
    )
    return Comparison(len(result.rows) + result.more, listed)


def same(ours: Result, theirs: Result) -> bool:
    """Whether two results of the primary are one and the same. What is not whole is like nothing."""
    if ours.more or theirs.more or ours.columns != theirs.columns:
        return False
    return not _compare_equal(ours, theirs).count


def _compare_equal(primary: Result, replica: Result) -> Comparison:
    ours, theirs = _without_common(primary.rows, replica.rows)
    floating = [
        place for place in range(len(primary.columns)) if any(isinstance(row[place], float) for row in (*ours, *theirs))
    ]
    if floating:
        ours, theirs = _without_close(ours, theirs, floating)
    if not ours and not theirs:
        return Comparison(0)
    keys = [place for place in range(len(primary.columns)) if not any(_numeric(r[place]) for r in (*ours, *theirs))]
    found = _paired(primary.columns, ours, theirs, keys, _close)
    if found is None:
        found = [
            *(Difference(MISSING, primary.columns, primary.columns, row) for row in ours),
            *(Difference(EXTRA, primary.columns, primary.columns, None, row) for row in theirs),
        ]
    return Comparison(len(found), tuple(found[:MOST_LISTED]))


def _without_common(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """What each side has that the other has not, or not as often."""
    counts = collections.Counter(_cells(row) for row in theirs)
    left = []
    for row in ours:
        if counts[_cells(row)] > 0:
            counts[_cells(row)] -= 1
        else:
            left.append(row)
    right = []
    for row in theirs:
        if counts[_cells(row)] > 0:
            counts[_cells(row)] -= 1
            right.append(row)
    return left, right


def _without_close(ours: list[Row], theirs: list[Row], floating: list[int]) -> tuple[list[Row], list[Row]]:
    """Rows that are the same but for the last bits of floating point numbers are taken away, pair by pair."""

    def key(row: Row) -> Key:
        """What has to be exactly the same: all but the numbers of those columns."""
        return tuple(
            _NUMBER if place in floating and _numeric(value) else cell(value) for place, value in enumerate(row)
        )

    def first(row: Row) -> float:
        return next((float(row[place]) for place in floating if _numeric(row[place])), 0.0)

    groups: dict[Key, list[tuple[float, Row]]] = {}
    for row in theirs:
        groups.setdefault(key(row), []).append((first(row), row))
    for group in groups.values():
        group.sort(key=lambda entry: entry[0])
    left = []
    for row in ours:
        group = groups.get(key(row), [])
        # A little more than _close allows: it decides.
        reach = abs(first(row)) * FLOAT_RELATIVE * 2
        place = bisect.bisect_left([number for number, _row in group], first(row) - reach)
        while place < len(group) and group[place][0] <= first(row) + reach:
            if all(_close(a, b) for a, b in zip(row, group[place][1])):
                del group[place]
                break
            place += 1
        else:
            left.append(row)
    return left, [row for group in groups.values() for _number, row in group]


def _compare_near(primary: Result, replica: Result, tolerance: Tolerance) -> Comparison:
    rows = (*primary.rows, *replica.rows)
    numbers = [place for place in range(len(primary.columns)) if _is_of_numbers(row[place] for row in rows)]
    keys = [place for place in range(len(primary.columns)) if place not in numbers]

    def near(ours: Any, theirs: Any) -> bool:
        if all(value is None or _numeric(value) for value in (ours, theirs)):
            return within(ours, theirs, tolerance)
        return cell(ours) == cell(theirs)

    found = _paired(primary.columns, primary.rows, replica.rows, keys, near)
    if found is None:
        why = (
            "rows of the two sides can not be paired: two rows are the same in all columns that hold no numbers."
            " Give each row a name that is no number, for example CAST(id AS CHAR)"
        )
        return Comparison(0, incomparable=why, verdict=ERROR)
    return Comparison(len(found), tuple(found[:MOST_LISTED]))


def _is_of_numbers(values: Iterable[Any]) -> bool:
    """A column that holds numbers, and nothing else but NULL."""
    known = [value for value in values if value is not None]
    return bool(known) and all(_numeric(value) for value in known)


def _paired(
    columns: tuple[str, ...],
    ours: Sequence[Row],
    theirs: Sequence[Row],
    keys: Sequence[int],
    alike: Callable[[Any, Any], bool],
) -> Optional[list[Difference]]:
    """The differences of rows that belong together by ``keys``; ``None`` when these do not tell the rows apart."""
    left, right = _by(ours, keys), _by(theirs, keys)
    if left is None or right is None:
        return None
    found = []
    for key, row in left.items():
        other = right.get(key)
        if other is None:
            found.append(Difference(MISSING, columns, columns, row))
            continue
        differing = tuple(name for name, a, b in zip(columns, row, other) if not alike(a, b))
        if differing:
            found.append(Difference(VALUE, differing, columns, row, other))
    found += [Difference(EXTRA, columns, columns, None, row) for key, row in right.items() if key not in left]
    return found


def _by(rows: Sequence[Row], keys: Sequence[int]) -> Optional[dict[Key, Row]]:
    found = {tuple(cell(row[place]) for place in keys): row for row in rows}
    return found if len(found) == len(rows) else None


# --- rounds ---------------------------------------------------------------------------------------------------------


class Settling:
    """One assertion on one replica, round by round.

    :ivar verdict: empty until it is settled.
    :ivar comparison: the last one.
    """

    def __init__(self, assertion: Assertion) -> None:
        self.assertion = assertion
        self.verdict = ""
        self.comparison = Comparison(0)
        self.rounds = 0
        self._suspect = 0
        self._witness: Optional[Result] = None

    def look(self, primary: Result, replica: Result) -> bool:
        """The primary's result from before the replica's barrier, and the replica's. False: look at the primary again.

        :returns: it is settled: they agree, or can not be compared.
        """
        self.rounds += 1
        self.comparison = compare(self.assertion, primary, replica)
        if self.comparison.incomparable:
            self.verdict = self.comparison.verdict
        elif not self.comparison.count:
            self.verdict = PASS
        return bool(self.verdict)

    def confirm(self, before: Result, replica: Result, after: Result) -> bool:
        """After a look that did not settle it, with the primary's result read once more. True: it is settled."""
        late = compare(self.assertion, after, replica)
        if not late.incomparable and not late.count:
            # The replica had executed what came to the primary since.
            self.verdict = PASS
        elif not same(before, after):
            self._suspect, self._witness = 0, None
        else:
            rested = self._witness is not None and same(self._witness, before)
            self._suspect = self._suspect + 1 if rested else 1
            self._witness = before
            if self._suspect >= CONFIRMED_BY:
                self.verdict = DIFFERENT
        return bool(self.verdict)


class Repeated:
    """An assertion that expects no rows, on one replica: rows count when they are there in every look.

    A replica that commits in another order than the primary can show for a moment what the primary never was.
    """

    def __init__(self, assertion: Assertion) -> None:
        self.assertion = assertion
        self.verdict = ""
        self.comparison = Comparison(0)
        self.rounds = 0

    def look(self, replica: Result) -> bool:
        """True: it is settled."""
        self.rounds += 1
        found = violations(replica, on_primary=False)
        if found.count:
            self.comparison = found
            if self.rounds >= CONFIRMED_BY:
                self.verdict = DIFFERENT
        else:
            # What was seen first and is gone was no lie, and is no pass.
            self.verdict = PASS if self.rounds == 1 else UNSTABLE
        return bool(self.verdict)


def said(assertion: Assertion, verdict: str, comparison: Comparison) -> str:
    """The sentence that goes with a verdict."""
    if comparison.incomparable:
        return comparison.incomparable
    many = f"{comparison.count} row{'' if comparison.count == 1 else 's'}"
    if verdict == PASS:
        return ""
    if assertion.expect == ZERO_ROWS:
        if verdict == UNSTABLE:
            return f"{many} that should not be there, gone when looked for again"
        return f"{many} where there should be none" + ("" if comparison.count <= assertion.max_rows else ", or more")
    if verdict == UNSTABLE:
        return f"{many} differed and did not come to rest: the primary's own result kept changing"
    if comparison.differences and comparison.differences[0].kind == COLUMNS:
        return "the results have other columns"
    return f"{many} of the result differ" if comparison.count > 1 else "1 row of the result differs"


# --- evidence -------------------------------------------------------------------------------------------------------


def shown(difference: Difference, *, reveal: bool, salt: bytes) -> dict[str, Any]:
    """A difference for a report: ``{kind, columns, primary, replica}``.

    A side is a digest of the row; with ``reveal`` the beginnings of the values by column. The digest is keyed with the
    run's ``salt``: within a run the same row has the same one, and nobody can find a balance by trying all balances.
    """
    entry: dict[str, Any] = {"kind": difference.kind, "columns": list(difference.columns)}
    for side, row in (("primary", difference.primary), ("replica", difference.replica)):
        if row is None:
            continue
        if difference.kind == COLUMNS:
            entry[side] = [str(name)[:LONGEST_SHOWN] for name in row]
        elif reveal:
            entry[side] = [{"column": name, "value": _text(value)} for name, value in zip(difference.names, row)]
        else:
            entry[side] = digest(row, salt)
    return entry


def digest(row: Row, salt: bytes) -> str:
    """32 hexadecimal digits of a row. Rows that are compared as the same have the same one, floats of a hair apart."""
    framed = b""
    for value in row:
        kind, _value = cell(value)
        content = (_exact(value) if kind == _NUMBER else _whole(value)).encode("utf-8", "surrogatepass")
        framed += f"{kind}:{len(content)}:".encode() + content
    return hmac.new(salt, framed, hashlib.sha256).hexdigest()[:32]


def _exact(value: Any) -> str:
    return str(fractions.Fraction(value))


def _whole(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _text(value: Any) -> Optional[str]:
    """The beginning of a value as text; None is NULL."""
    if value is None:
        return None
    return _whole(value)[:LONGEST_SHOWN]
