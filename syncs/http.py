"""Outgoing HTTP: one session type with address guard, total deadline, response cap and redaction."""
