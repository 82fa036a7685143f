"""Settings for tests that import Airflow: a temporary home, no example DAGs. The fixture `store` is an S3 bucket."""

from __future__ import annotations

import os
import tempfile

from tests.artifact_store.conftest import proxy, s3_url, store

__all__ = ["proxy", "s3_url", "store"]

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-test-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
