"""All mutants, in the protocol's order."""

from __future__ import annotations

from tests.mutants.identities import IDENTITIES
from tests.mutants.load import LOAD, RECONCILE
from tests.mutants.mutant import Mutant
from tests.mutants.produce_and_plan import PLAN, PRODUCE
from tests.mutants.read import READ
from tests.mutants.records import RECORDS
from tests.mutants.settings import AIRFLOW, CHECK, SETTINGS
from tests.mutants.snowflake import SNOWFLAKE
from tests.mutants.stage import STAGE
from tests.mutants.staging_beyond import STAGE_PARQUET, STAGE_S3

MUTANTS: tuple[Mutant, ...] = (
    *PRODUCE,
    *PLAN,
    *READ,
    *STAGE,
    *STAGE_S3,
    *STAGE_PARQUET,
    *RECORDS,
    *LOAD,
    *RECONCILE,
    *IDENTITIES,
    *SNOWFLAKE,
    *SETTINGS,
    *CHECK,
    *AIRFLOW,
)
