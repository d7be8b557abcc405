# SPDX-License-Identifier: BSD-2-Clause
"""The one error type of the collection.

An error says four things: a stable ``code``, one sentence for a person, the evidence it rests on, and what to do next.
Business answers ("this may not be promoted") are not errors but values: see ``Refusal`` in ``failover/plan.py``.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence


class HaError(Exception):
    """Something that stops the work at hand.

    :param code: stable lower-case identifier (``gtid_mode_off``); tests and alerting rely on it.
    :param message: one sentence: what is wrong, where.
    :param evidence: JSON-able facts the statement rests on; never a secret.
    :param next_step: what a person does now.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        evidence: Optional[Mapping[str, Any]] = None,
        next_step: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.evidence = dict(evidence or {})
        self.next_step = next_step

    def as_result(self) -> dict[str, Any]:
        """The error as a module result: ``{code, msg, evidence, next_step}``."""
        return {
            "code": self.code,
            "msg": self.message,
            "evidence": self.evidence,
            "next_step": self.next_step,
        }

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]" + (f" Next: {self.next_step}" if self.next_step else "")


def together(errors: Sequence[HaError]) -> HaError:
    """Several failures as one: the first one's code and next step, all of them in the message and the evidence."""
    if len(errors) == 1:
        return errors[0]
    return HaError(
        errors[0].code,
        "; ".join(error.message for error in errors),
        evidence={"failures": [error.as_result() for error in errors]},
        next_step=errors[0].next_step,
    )


def defect(what: str) -> HaError:
    """A state that the code rules out was met. Stops the work, as every error does, instead of going on blindly."""
    return HaError(
        "defect",
        f"this should be impossible: {what}",
        next_step="Report this with the journal and the evidence; running again is safe.",
    )
