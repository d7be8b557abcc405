# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables the account can not see, by what SHOW GRANTS tells. Lines as MySQL 9.7.4 shows them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.privileges import grants, unseen
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import World, keyed, verdicts

TO = " TO `reader`@`%`"
USAGE = f"GRANT USAGE ON *.*{TO}"
ALL = f"GRANT SELECT, PROCESS, REPLICATION CLIENT, SHOW VIEW ON *.*{TO}"
DYNAMIC = f"GRANT SERVICE_CONNECTION_ADMIN ON *.*{TO}"


def app(what: str = "SELECT") -> str:
    return f"GRANT {what} ON `app`.*{TO}"


@pytest.mark.parametrize(
    ("told", "include", "exclude"),
    [
        ([ALL, DYNAMIC], [], []),
        ([f"GRANT ALL PRIVILEGES ON *.*{TO} WITH GRANT OPTION"], [], []),
        ([USAGE, app()], ["app"], []),
        ([USAGE, app("INSERT, SELECT")], ["app.orders", "app.*"], []),
        ([USAGE, app("ALL PRIVILEGES")], ["app.o?"], []),
        ([USAGE, f"GRANT SELECT ON `my\\_app`.*{TO}"], ["my_app"], []),
        ([ALL, "REVOKE SELECT ON `mysql`.* FROM `reader`@`%`"], [], []),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], ["app"], []),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], [], ["hr"]),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], [], ["hr.*"]),
        ([ALL, "REVOKE INSERT ON `hr`.* FROM `reader`@`%`"], [], []),
    ],
)
def test_all_that_is_wanted_is_seen(told: list[str], include: list[str], exclude: list[str]) -> None:
    assert unseen(told, include, exclude) == ""


@pytest.mark.parametrize(
    ("told", "include", "exclude", "hidden"),
    [
        ([USAGE], [], [], "*.*"),
        ([USAGE, app()], [], [], "*.*"),
        ([USAGE, app()], ["app", "shop"], [], "shop"),
        ([USAGE, app()], ["a*"], [], "*.*"),
        ([USAGE, app("INSERT")], ["app"], [], "app"),
        # Single tables and columns: what else there is can not be known.
        ([USAGE, f"GRANT SELECT ON `app`.`orders`{TO}"], ["app"], [], "app"),
        ([USAGE, f"GRANT SELECT (`id`, `name`) ON `app`.`orders`{TO}"], ["app.orders"], [], "app"),
        ([USAGE, f"GRANT SELECT (`id`) ON `app`.`a``.*`{TO}"], ["app"], [], "app"),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], [], [], "hr"),
        ([ALL, "REVOKE INSERT, SELECT ON `hr`.* FROM `reader`@`%`"], ["*.people"], [], "hr"),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], ["hr", "app"], [], "hr"),
        ([ALL, "REVOKE SELECT ON `hr`.* FROM `reader`@`%`"], [], ["hr.people"], "hr"),
        ([ALL, "REVOKE SELECT ON `h``r`.* FROM `reader`@`%`"], [], [], "h`r"),
    ],
)
def test_what_may_be_hidden_is_said(told: list[str], include: list[str], exclude: list[str], hidden: str) -> None:
    assert hidden in unseen(told, include, exclude)


def test_roles_that_are_active_are_asked_for() -> None:
    class Server:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def one(self, sql: str, *, within: float) -> dict[str, Any]:
            return {"roles": "`audit`@`%`,`more`@`%`"}

        def query(self, sql: str, *, within: float) -> list[dict[str, Any]]:
            self.asked.append(sql)
            return [{"Grants for reader@%": ALL if "USING" in sql else line} for line in (USAGE, roles)]

    roles = "GRANT `audit`@`%`,`more`@`%` TO `reader`@`%`"
    server = Server()
    assert grants(server, within=1.0) == [ALL, ALL]  # type: ignore[arg-type]
    assert server.asked[1:] == ["SHOW GRANTS FOR CURRENT_USER() USING `audit`@`%`,`more`@`%`"]


@pytest.mark.parametrize("where", ["p", "r2"])
def test_a_run_that_sees_a_part_is_no_pass(where: str) -> None:
    made = World({"a": keyed(1, 2)})
    made.nodes[where].grants = [USAGE]
    report = made.run()
    assert report["verdict"] == "error"
    assert [(each["replica"], each["code"]) for each in report["servers"]] == [(where, "account_sees_part")]
    assert {verdict for verdict, _code in verdicts(report).values()} == {"pass"}, "what is seen is compared"
