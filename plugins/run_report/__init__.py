"""The report tab on the page of a DAG run, and the page that compares runs."""
