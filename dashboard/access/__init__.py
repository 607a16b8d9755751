"""Who may see and do what: tokens, sessions, and the guard that every request passes."""
