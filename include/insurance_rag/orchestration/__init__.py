"""The code that depends on Airflow: tasks, GPU jobs, connections, alerts and the trigger form."""
