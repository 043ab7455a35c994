"""Settings of the chapter *Modified attention*."""

EXPERIMENTS = ()
