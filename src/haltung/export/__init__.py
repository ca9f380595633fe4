"""Take a trained model elsewhere: the bundle that needs no Haltung, and MLflow's pyfunc."""
