"""The cluster as users run it: ``compose.yaml`` as shipped, on a real engine; killed, frozen, cut off, scaled, and counted."""
