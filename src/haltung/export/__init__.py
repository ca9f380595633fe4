"""From a trained model to a bundle that needs no Haltung, and MLflow's pyfunc."""
