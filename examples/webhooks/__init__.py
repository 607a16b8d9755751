"""Web hooks for many receivers."""
