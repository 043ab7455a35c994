"""Settings of part II (ren2024)."""
