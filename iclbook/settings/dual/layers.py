"""Settings of the chapter *Whole layers, many layers*."""

EXPERIMENTS = ()
