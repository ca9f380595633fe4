"""Take a trained model elsewhere: MLflow's pyfunc."""
