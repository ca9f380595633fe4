"""Figures, plots and reports of a classifier's predictions; no torch and no MLflow in here."""
