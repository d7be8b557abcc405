# SPDX-License-Identifier: BSD-2-Clause
"""A refusal: the business answer "this is not done, for these reasons".

It is a value, not an error: deciders return it, and it names *all* reasons found, so that a person mends them in one
go.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Mapping

from .errors import HaError


@dataclasses.dataclass(frozen=True)
class Reason:
    """``code`` is stable; ``evidence`` holds the JSON-able facts it rests on, never a secret."""

    code: str
    message: str
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    next_step: str = ""

    def as_result(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "evidence": dict(self.evidence),
            "next_step": self.next_step,
        }


@dataclasses.dataclass(frozen=True)
class Refusal:
    """At least one reason; the first one is what a person mends first."""

    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a refusal without a reason")

    @classmethod
    def of(cls, reasons: Iterable[Reason]) -> Refusal:
        return cls(tuple(reasons))

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(reason.code for reason in self.reasons)

    def as_result(self) -> dict[str, Any]:
        """``{code, msg, reasons, next_step}``: the first reason's code and next step, every reason in full."""
        first = self.reasons[0]
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return {
            "code": first.code,
            "msg": f"{first.message}{more}",
            "reasons": [reason.as_result() for reason in self.reasons],
            "next_step": first.next_step,
        }

    def as_error(self) -> HaError:
        """The refusal as the error that ends a module: all reasons are in its evidence."""
        result = self.as_result()
        return HaError(
            result["code"],
            "refused: " + "; ".join(reason.message for reason in self.reasons),
            evidence={"reasons": result["reasons"]},
            next_step=" ".join(dict.fromkeys(r.next_step for r in self.reasons if r.next_step)),
        )
