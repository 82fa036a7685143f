"""The report tab of a DAG run, and the page that compares runs."""
