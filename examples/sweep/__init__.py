"""A parameter sweep with scikit-learn."""
