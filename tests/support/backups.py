"""Backups of a whole warehouse: taken and restored as an administrator would, without the product."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psycopg

from topicledger.connection import Connection


@dataclass(frozen=True)
class Backup:
    """One warehouse as it was: a copied DuckDB file, or a PostgreSQL database made from it as its template."""

    place: Connection

    @property
    def _file(self) -> Path:
        return Path(str(self.place.host))

    @property
    def _copy(self) -> Path:
        return self._file.with_suffix(".backup")

    def take(self) -> None:
        """Copy the warehouse; an older copy is replaced. Nobody may be connected."""
        if self.place.conn_type == "postgres":
            self._replace(f"{self.place.schema}_backup", str(self.place.schema))
        elif self._file.exists():
            shutil.copyfile(self._file, self._copy)
        else:
            self._copy.unlink(missing_ok=True)

    def restore(self) -> None:
        """Put the warehouse back to what it was."""
        if self.place.conn_type == "postgres":
            self._replace(str(self.place.schema), f"{self.place.schema}_backup")
        elif self._copy.exists():
            shutil.copyfile(self._copy, self._file)
        else:
            self._file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the copy."""
        if self.place.conn_type == "postgres":
            self._execute(f"DROP DATABASE IF EXISTS {self.place.schema}_backup WITH (FORCE)")
        else:
            self._copy.unlink(missing_ok=True)

    def _replace(self, name: str, template: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")

    def _execute(self, *statements: str) -> None:
        place = self.place
        dsn = f"host={place.host} port={place.port} user={place.login} dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as session:
            for statement in statements:
                session.execute(statement.encode())
