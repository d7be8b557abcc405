"""Keeps one core busy until it is ended: ``python burner.py``."""

from __future__ import annotations


def main() -> None:
    number = 0
    while True:
        number = (number * 1103515245 + 12345) % (1 << 31)


if __name__ == "__main__":
    main()
