"""The demo: a tiny base model, and an embedded Airflow that runs as local processes with an SQLite database."""
