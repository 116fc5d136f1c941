"""Endpoints of dead letters, error groups, bulk operations and exports."""
