"""What can be run: experiments with their settings, a room a chapter. Light: imports neither torch nor pandas."""
