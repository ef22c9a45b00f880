"""Whole runs through a real Airflow; a package, so that its Airflow ends with its last test."""
