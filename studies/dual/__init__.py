"""Studies of part II: ren2024."""
