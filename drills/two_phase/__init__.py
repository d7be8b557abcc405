"""The drill ``two_phase_commit``: kill -9 under load, and the rows equal a replay of the binary log. See run.py."""
