"""Settings of part I (yang2024)."""
