"""Metrics, plots and reports of a classifier's predictions, without torch and MLflow."""
