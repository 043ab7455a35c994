"""Settings of the chapter *The softmax kernel and its random features*."""

EXPERIMENTS = ()
