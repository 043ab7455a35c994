"""Settings of the chapter *What it learned: ridge regression*."""

EXPERIMENTS = ()
