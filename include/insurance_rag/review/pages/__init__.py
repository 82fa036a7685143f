"""The HTML of the review pages. It needs no Airflow, so that a test can render a page from plain items."""
