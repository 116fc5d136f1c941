"""Endpoints of connections, syncs, runs and what belongs to them."""
