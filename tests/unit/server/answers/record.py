# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what one server of a running lab answers: ``python -m tests.unit.server.answers.record CONTAINER > x.json``.

Reads only. The statements are those of ``server/read.py`` and ``server/schema.py``; a table that is not there yet
answers with its error number.
"""

from __future__ import annotations

import json
import subprocess
import sys

# It makes the collection importable.
from tests.unit import conftest  # noqa: F401  # pylint: disable=unused-import

from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import read, schema, settings  # isort: skip

# Runs inside the container, where the server's socket is.
ASK = """
import decimal, json, sys
import pymysql, pymysql.cursors
connection = pymysql.connect(user="root", unix_socket=sys.argv[1], cursorclass=pymysql.cursors.DictCursor)
answers = {}
with connection.cursor() as cursor:
    for name, sql, values in json.load(sys.stdin):
        try:
            cursor.execute(sql, values)
        except pymysql.err.MySQLError as error:
            answers[name] = {"errno": error.args[0]}
            continue
        rows = cursor.fetchall()
        for row in rows:
            for key, value in row.items():
                if isinstance(value, decimal.Decimal):
                    row[key] = int(value) if value == value.to_integral_value() else str(value)
                elif isinstance(value, bytes):
                    row[key] = value.decode()
        answers[name] = list(rows)
json.dump(answers, sys.stdout, default=str)
"""


def statements() -> list[tuple[str, str, list[str] | None]]:
    names = [*read._IDENTITY, *settings.NAMES]
    return [
        ("variables", read._VARIABLES.format(names=", ".join(["%s"] * len(names))), names),
        ("replica_status", "SHOW REPLICA STATUS", None),
        ("connection", read._CONNECTION, None),
        ("term", schema.SELECT_TERM, None),
        ("heartbeats", schema.SELECT_HEARTBEATS, None),
    ]


def main(container: str, socket: str = "/run/mysqld/mysqld.sock") -> None:
    done = subprocess.run(
        ["docker", "exec", "-i", container, "python3", "-c", ASK, socket],
        input=json.dumps(statements()),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    version = next(row["value"] for row in answers["variables"] if row["name"] == "version")
    json.dump({"source": f"recorded from MySQL {version} in the lab", **answers}, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
