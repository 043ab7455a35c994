"""Settings of the chapter *Real data*."""

EXPERIMENTS = ()
