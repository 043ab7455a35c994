"""Settings of the chapter *A representation-learning problem*."""

EXPERIMENTS = ()
