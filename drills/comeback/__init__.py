"""The old primary comes back, rewound or cloned; each time every server is equal afterwards, row by row."""
