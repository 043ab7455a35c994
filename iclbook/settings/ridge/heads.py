"""Settings of the chapter *What heads buy*."""

EXPERIMENTS = ()
