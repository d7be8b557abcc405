"""The lab: real hosts (systemd, sshd, mysqld, addresses of their own) on one machine.

Run ``python -m lab --help``. Nothing here is part of the built collection.
"""
