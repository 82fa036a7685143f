"""The only code that knows Airflow: tasks around the stages, GPU jobs, connections, the embedded stack."""
