"""Reconciliation: differences planted behind the back of replication, under load, and what is found."""
