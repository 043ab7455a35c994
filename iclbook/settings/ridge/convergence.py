"""Settings of the chapter *Linear convergence*."""

EXPERIMENTS = ()
