"""Studies of part I: yang2024."""
