"""The code that depends on Airflow: tasks around the stages, GPU jobs, connections, alerts, the trigger form."""
