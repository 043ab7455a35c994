"""Settings of the chapter *One attention layer is one gradient step*."""

EXPERIMENTS = ()
