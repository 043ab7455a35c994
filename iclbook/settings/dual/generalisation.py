"""Settings of the chapter *How many demonstrations?*."""

EXPERIMENTS = ()
