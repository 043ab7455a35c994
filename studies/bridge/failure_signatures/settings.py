"""Settings of the chapter *Failure signatures*."""

EXPERIMENTS = ()
