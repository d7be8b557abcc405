# SPDX-License-Identifier: GPL-3.0-or-later
"""mysqld servers of a test's own: containers of the lab's image that run mysqld and nothing else.

They can be wiped, killed and drifted without disturbing the lab's hosts. A supervisor loop starts mysqld again when it
asks for it (exit code 16, as after CLONE or RESTART), so they behave as under systemd.
"""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADMIN_PASSWORD = "admin'\\pass%s"
REPLICATION_PASSWORD = "repl'\\canary%s"
CLONE_PASSWORD = "clone'canary"
ADMIN = "lossless_admin"
CLONE = "lossless_clone"
REPLICATION_PREFIX = "lossless_repl_"
LARGEST = 5

CONFIG = """[mysqld]
user=mysql
datadir=/var/lib/mysql
socket=/tmp/mysqld.sock
pid_file=/tmp/mysqld.pid
secure_file_priv=NULL
log_error=/var/lib/mysql/error.log
server_id={number}
report_host={address}
admin_address={address}
admin_port=33062
create_admin_listener_thread=ON
skip_name_resolve=ON
mysqlx=OFF
innodb_buffer_pool_size=32M
innodb_redo_log_capacity=32M
gtid_mode=ON
enforce_gtid_consistency=ON
binlog_row_image=FULL
binlog_row_metadata=FULL
log_replica_updates=ON
sync_binlog=1
innodb_flush_log_at_trx_commit=1
relay_log_recovery=OFF
sync_relay_log=1
replica_preserve_commit_order=ON
super_read_only=ON
skip_replica_start=ON
replica_net_timeout=4
rpl_stop_replica_timeout=2
plugin_load_add=semisync_source.so
plugin_load_add=semisync_replica.so
plugin_load_add=mysql_clone.so
rpl_semi_sync_source_enabled=OFF
rpl_semi_sync_replica_enabled=OFF
rpl_semi_sync_source_timeout=4294967295
rpl_semi_sync_source_wait_point=AFTER_SYNC
rpl_semi_sync_source_wait_no_replica=ON
ssl_ca=/scratch/ca.pem
ssl_cert=/scratch/cert-{number}.pem
ssl_key=/scratch/key-{number}.pem
{extra}
"""

SUPERVISOR = (
    "cp /scratch/my-{n}.cnf /tmp/my.cnf; chmod 0644 /tmp/my.cnf;"
    " while MYSQLD_PARENT_PID=$$ mysqld --defaults-file=/tmp/my.cnf; [ $? = 16 ]; do :; done"
)


UNSUPERVISED = (
    "cp /scratch/my-{n}.cnf /tmp/my.cnf; chmod 0644 /tmp/my.cnf; unset MYSQLD_PARENT_PID;"
    " mysqld --defaults-file=/tmp/my.cnf"
)
"""Nobody starts it again; its container stops with it, and ``Server.start`` is a person who starts it."""


def grants(account: accounts.Account) -> Any:
    return accounts.grants_of(account.duty, Dialect((9, 7, 4)))


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)[:200]}: {done.stderr[-400:]}")
    return done.stdout.strip()


def image() -> str:
    found = docker("images", "mysql-ha-lab", "--format", "{{.Repository}}:{{.Tag}}", check=False).split()
    return found[0] if found else ""


class Server:
    """One scratch server, and independent eyes on it: plain PyMySQL, nothing of the code under test."""

    def __init__(self, farm: Farm, number: int) -> None:
        self.farm = farm
        self.number = number
        self.name = f"s{number}"
        self.container = f"{farm.name}-{number}"
        self.volume = f"{farm.name}-data-{number}"
        self.address = farm.address(number)

    @contextmanager
    def connected(self, user: str = "root", password: str = "", port: int = 33062) -> Iterator[Any]:
        connection = pymysql.connect(
            host=self.address,
            port=port,
            user=user,
            password=password,
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
            ssl={"ca": str(self.farm.files / "ca.pem")},
            connect_timeout=3,
        )
        try:
            yield connection
        finally:
            connection._force_close()

    def sql(self, *statements: str) -> list[dict[str, Any]]:
        rows: Any = []
        with self.connected() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall()
        return list(rows)

    def value(self, expression: str) -> Any:
        return next(iter(self.sql(f"SELECT {expression}")[0].values()))

    def variable(self, name: str) -> str:
        return str(self.sql(f"SHOW GLOBAL VARIABLES LIKE '{name}'")[0]["Value"])

    def status(self, name: str) -> str:
        return str(self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")[0]["Value"])

    def replica(self) -> dict[str, Any]:
        rows = self.sql("SHOW REPLICA STATUS")
        return rows[0] if rows else {}

    def uuid(self) -> str:
        return str(self.value("@@server_uuid"))

    def create(self, *, extra: str = "", supervised: bool = True) -> None:
        """An empty server with the collection's accounts."""
        docker("rm", "-f", self.container, check=False)
        docker("volume", "rm", "-f", self.volume, check=False)
        config = CONFIG.format(number=self.number, address=self.address, extra=extra)
        (self.farm.files / f"my-{self.number}.cnf").write_text(config)
        docker(
            *("run", "--rm", "--entrypoint", "sh", "-v", f"{self.farm.template}:/from:ro"),
            *("-v", f"{self.volume}:/to", image(), "-c", "cp -a /from/. /to/ && chown mysql:mysql /to"),
        )
        docker(
            *("run", "-d", "--name", self.container, "--network", self.farm.name, "--ip", self.address),
            *("--cap-add", "SYS_NICE", "-v", f"{self.volume}:/var/lib/mysql", "-v", f"{self.farm.files}:/scratch:ro"),
            *(
                "--entrypoint",
                "bash",
                image(),
                "-c",
                (SUPERVISOR if supervised else UNSUPERVISED).format(n=self.number),
            ),
        )

    def wait(self, seconds: float = 40) -> None:
        ends = time.monotonic() + seconds
        while True:
            try:
                self.sql("SELECT 1")
                return
            except pymysql.err.MySQLError:
                if time.monotonic() > ends:
                    raise AssertionError(docker("logs", "--tail", "30", self.container, check=False)) from None
                time.sleep(0.2)

    @contextmanager
    def wearing(self, label: str) -> Iterator[None]:
        """The server shows the certificate of that label (see ``Farm.certify``) to whoever connects meanwhile."""

        def put_on(cursor: Any, which: str) -> None:
            for what in (f"cert-{self.number}", f"key-{self.number}", "ca"):
                cursor.execute(f"SET GLOBAL ssl_{what.partition('-')[0]} = '/scratch/{what}{which}.pem'")
            cursor.execute("ALTER INSTANCE RELOAD TLS")

        with self.connected() as connection, connection.cursor() as cursor:
            put_on(cursor, label)
            try:
                yield
            finally:
                put_on(cursor, "")

    def kill(self) -> None:
        docker("kill", self.container)

    def start(self) -> None:
        docker("start", self.container)
        self.wait()

    def as_member(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "host": self.address, **more}


def everything(servers: Sequence[Server]) -> list[Any]:
    """What a test compares to see that nothing was changed."""
    return [
        (
            s.value("@@GLOBAL.gtid_executed"),
            s.variable("read_only"),
            s.variable("super_read_only"),
            s.variable("rpl_semi_sync_source_enabled"),
            s.variable("rpl_semi_sync_source_wait_for_replica_count"),
            s.variable("rpl_semi_sync_replica_enabled"),
            {k: v for k, v in s.replica().items() if k in ("Source_Host", "Source_User", "Replica_IO_Running")},
            s.sql("SELECT User, Host, account_locked, authentication_string FROM mysql.user ORDER BY User, Host"),
        )
        for s in servers
    ]


class Authority:
    """A certificate authority that nobody else knows."""

    def __init__(self, name: str = "scratch") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._called(name)
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(True, None), 172800)

    @staticmethod
    def _called(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def _signed(self, subject: x509.Name, key: Any, extension: x509.ExtensionType, seconds: float) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(seconds=seconds)).add_extension(extension, True)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str, address: str, seconds: float) -> tuple[bytes, bytes]:
        """A server's certificate and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        return self._signed(self._called(name), key, names, seconds), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Farm:
    """The servers of one test session: a network, a certificate authority, a template of a data directory."""

    def __init__(self, name: str, files: Path) -> None:
        self.name = name
        self.files = files
        self.template = f"{name}-template"
        docker("network", "rm", name, check=False)
        self._network = self._free_network()
        self.layout = 0
        """Grows whenever servers are made anew."""
        self.servers = {number: Server(self, number) for number in range(1, LARGEST + 1)}
        self._certificates()
        self._initialise()

    def _free_network(self) -> ipaddress.IPv4Network:
        """Fixed addresses need a subnet that is named: the first that the engine accepts."""
        for third in range(200, 240):
            subnet = f"10.231.{third}.0/24"
            if docker("network", "create", "--subnet", subnet, self.name, check=False):
                return ipaddress.IPv4Network(subnet)
        raise AssertionError("no subnet is free")

    def address(self, number: int) -> str:
        return str(self._network[10 + number])

    def _certificates(self) -> None:
        self._authority = Authority()
        for number in self.servers:
            self.certify(number)

    def certify(
        self, number: int, label: str = "", *, authority: Authority | None = None, seconds: float = 172800
    ) -> None:
        """Write ``cert-<number><label>.pem``, its key and ``ca<label>.pem``: by our own authority or another one."""
        signer = authority or self._authority
        certificate, key = signer.sign(f"s{number}", self.address(number), seconds)
        (self.files / f"ca{label}.pem").write_bytes(signer.certificate)
        (self.files / f"cert-{number}{label}.pem").write_bytes(certificate)
        target = self.files / f"key-{number}{label}.pem"
        target.write_bytes(key)
        target.chmod(0o644)

    def _initialise(self) -> None:
        statements = ["SET sql_log_bin=0", "ALTER USER root@localhost IDENTIFIED BY ''"]
        wanted = [
            (accounts.Account(ADMIN, "%", accounts.ADMIN), ADMIN_PASSWORD),
            (accounts.Account(CLONE, "%", accounts.CLONE), CLONE_PASSWORD),
        ]
        for number in self.servers:
            user = accounts.replication_user(REPLICATION_PREFIX, number)
            wanted.append((accounts.Account(user, "%", accounts.REPLICATION), REPLICATION_PASSWORD))
        for account, password in wanted:
            quoted = pymysql.converters.escape_string(password)
            statements.append(f"CREATE USER {account.sql_name} IDENTIFIED BY '{quoted}' REQUIRE SSL")
            statements += [f"GRANT {what} ON {where} TO {account.sql_name}" for what, where in grants(account)]
        statements += [
            "CREATE USER root@'%' IDENTIFIED BY ''",
            "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION",
            "SHUTDOWN",
        ]
        (self.files / "init.sql").write_text("".join(f"{statement};\n" for statement in statements))
        docker("volume", "rm", "-f", self.template, check=False)
        script = (
            "chown mysql:mysql /var/lib/mysql && mysqld --no-defaults --user=mysql --initialize-insecure"
            " --datadir=/var/lib/mysql 2>/tmp/log && mysqld --no-defaults --user=mysql --datadir=/var/lib/mysql"
            " --skip-networking --socket=/tmp/s --mysqlx=OFF --init-file=/scratch/init.sql --pid-file=/tmp/p"
            " 2>>/tmp/log"
            " && rm -f /var/lib/mysql/auto.cnf /var/lib/mysql/binlog.* || { tail -20 /tmp/log; exit 1; }"
        )
        docker(
            *("run", "--rm", "--entrypoint", "bash", "-v", f"{self.template}:/var/lib/mysql"),
            *("-v", f"{self.files}:/scratch:ro", image(), "-c", script),
        )

    def fresh(self, count: int, *, extra: dict[int, str] | None = None) -> list[Server]:
        """That many empty servers, running; the others are gone."""
        self.layout += 1
        for server in self.servers.values():
            if server.number > count:
                docker("rm", "-f", server.container, check=False)
        chosen = [self.servers[number] for number in range(1, count + 1)]
        for server in chosen:
            server.create(extra=(extra or {}).get(server.number, ""))
        for server in chosen:
            server.wait()
        return chosen

    def close(self) -> None:
        for server in self.servers.values():
            docker("rm", "-f", server.container, check=False)
            docker("volume", "rm", "-f", server.volume, check=False)
        docker("volume", "rm", "-f", self.template, check=False)
        docker("network", "rm", self.name, check=False)
