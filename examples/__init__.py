"""Examples. ``mail`` lays over compose.yaml; the others are scripts of cells that run anywhere, see each one's README."""
