"""An Airflow of one's own: every component as a local process on SQLite, for the demo, a laptop and the tests."""
