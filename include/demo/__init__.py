"""The demo: a tiny base model, and an embedded Airflow whose components are local processes on SQLite."""
