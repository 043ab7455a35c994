"""Settings of the chapter *Which template does it choose?*."""

EXPERIMENTS = ()
