"""Export of trained models: bundles that run without Haltung, and MLflow's pyfunc."""
