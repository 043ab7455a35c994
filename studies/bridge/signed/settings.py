"""Settings of the chapter *Do negative samples replace heads?*."""

EXPERIMENTS = ()
