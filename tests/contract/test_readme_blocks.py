"""The grants on the warehouses' pages are enough, none of them too many; what they say that appears is what appears."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # ships no types
import pytest
from moto.core.authorization import enable_iam_authentication

from tests.contract.batches import load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from tests.docs.warehouse_blocks import blocks
from tests.support.object_store import REGION, ObjectStore
from topicledger.errors import SettingsError

TABLE = "user_signups"
BLOCKS = {block.as_json.conn_type: block for block in blocks().values()}


def appeared(place: Place, request: pytest.FixtureRequest) -> set[str]:
    """The tables that are there; of files their paths, each name of a file put in the page's words."""
    if not place.is_lake:
        found = place.query(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE LOWER(table_schema) NOT IN ('pg_catalog', 'information_schema')"
        )
        return {name for (name,) in found}
    if place.kind == "aws":
        names = request.getfixturevalue("object_store").keys(place.settings)
    else:
        root = Path(place.settings.extra["path"])
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return {re.sub(r"/\d{20}\.", "/<sequence>.", re.sub(r"/[0-9a-f]{64}\.", "/<sha256>.", name)) for name in names}


def test_what_appears(place: Place, request: pytest.FixtureRequest) -> None:
    """After the first load there is what the warehouse's block lists, and nothing else."""
    warehouse = place.ready(TABLE)
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run"))
    assert appeared(place, request) == set(BLOCKS[place.kind].appears)


@pytest.fixture
def role(postgres_place: Place) -> Iterator[Place]:
    """The database as a role that doesn't exist yet; nobody has rights that weren't granted to him."""
    name, database = f"role_{postgres_place.settings.schema}", postgres_place.settings.schema
    postgres_place.query(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    postgres_place.query("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield replace(postgres_place, settings=replace(postgres_place.settings, login=name, password="secret"))
    postgres_place.query(f"DROP OWNED BY {name} CASCADE")
    postgres_place.query(f"DROP ROLE {name}")


def statements(role: Place, number: int) -> list[str]:
    """One of the page's two sets of grants, for this role in this database."""
    block = BLOCKS["postgres"]
    names = {str(block.as_json.login): str(role.settings.login), str(block.as_json.schema): str(role.settings.schema)}
    text = re.sub(r"\b(etl|analytics)\b", lambda name: names[name[1]], block.code("sql")[number])
    return [statement for statement in text.split(";\n") if statement]


def single(grants: list[str]) -> list[tuple[str, str]]:
    """Every single right of the grants, with the object it is on."""
    found = [re.fullmatch(r"GRANT (.*) ON (.*) TO \w+", grant) for grant in grants]
    return [(right, match[2]) for match in found if match for right in match[1].split(", ")]


def run(role: Place, *, create: bool, start: int) -> None:
    """What a run's tasks do in the warehouse."""
    warehouse = role.ready(TABLE, create_tables=create)
    origin(warehouse)
    assert warehouse.positions("events")
    assert load(warehouse, numbered(start, start + 3, f"run-{start}")).accounts.loaded == 3
    warehouse.snapshot("", "")


@pytest.mark.parametrize("created_by", ["run", "dba"])
def test_the_grants_of_postgresql(postgres_place: Place, role: Place, created_by: str) -> None:
    """With exactly the grants that are listed runs pass, and without any single one of them one stops and says so."""
    by_run = created_by == "run"
    if not by_run:
        postgres_place.ready(TABLE)
    for statement in statements(role, 0 if by_run else 1):
        postgres_place.query(statement)
    assert role.warehouse(TABLE, create_tables=by_run).access().problems == ()
    rights = single(statements(role, 0 if by_run else 1))
    assert len(rights) == (4 if by_run else 12)
    if by_run:
        # What the first run has created is its own; only its right to create is needed before.
        postgres_place.query(f"REVOKE CREATE ON SCHEMA public FROM {role.settings.login}")
        with pytest.raises(SettingsError, match="permission denied for schema public"):
            role.ready(TABLE)
        postgres_place.query(f"GRANT CREATE ON SCHEMA public TO {role.settings.login}")
    run(role, create=by_run, start=0)
    for number, (right, thing) in enumerate(rights):
        if right == "CREATE":
            continue
        postgres_place.query(f"REVOKE {right} ON {thing} FROM {role.settings.login}")
        with pytest.raises(SettingsError, match=r"permission denied|CONNECT privilege"):
            run(role, create=by_run, start=3 + 3 * number)
        postgres_place.query(f"GRANT {right} ON {thing} TO {role.settings.login}")
    run(role, create=by_run, start=3)


@pytest.fixture
def granted(s3_place: Place, object_store: ObjectStore) -> Iterator[Any]:
    """Makes an IAM user with a policy; from then on the emulator holds everybody to what is allowed to him."""
    with ExitStack() as stack:

        def make(policy: str) -> Place:
            iam = boto3.client(
                "iam",
                endpoint_url=object_store.endpoint,
                region_name=REGION,
                aws_access_key_id=s3_place.settings.login,
                aws_secret_access_key=s3_place.settings.password,
            )
            user = str(s3_place.settings.extra["bucket"])
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="policy", PolicyDocument=policy)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            stack.enter_context(enable_iam_authentication())
            settings = replace(s3_place.settings, login=key["AccessKeyId"], password=key["SecretAccessKey"])
            return replace(s3_place, settings=settings)

        yield make


def policy_for(place: Place, without: str = "") -> str:
    """The page's policy for this bucket, one action left out."""
    extra = place.settings.extra
    text = BLOCKS["aws"].code("json")[1].replace(":::bucket", f":::{extra['bucket']}")
    policy = json.loads(text.replace("/prefix/", f"/{extra['prefix']}/"))
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [action for action in actions if action != without]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
    return json.dumps(policy)


@pytest.mark.slow
@pytest.mark.parametrize("without", ["", "s3:ListBucket", "s3:GetObject", "s3:PutObject"])
def test_the_policy_of_s3(granted: Any, s3_place: Place, without: str) -> None:
    """With the policy that is listed runs pass; without one of its actions the error names what has to be granted.

    The emulator knows no right to end an upload in parts, and its reader of policies isn't AWS's.
    """
    place = granted(policy_for(s3_place, without))
    if not without:
        run(place, create=True, start=0)
        assert place.warehouse(TABLE).audit().problems == ()
        return
    with pytest.raises(
        SettingsError,
        match="have s3:ListBucket, s3:GetObject, s3:PutObject and for staged files s3:DeleteObject granted",
    ):
        run(place, create=True, start=0)
