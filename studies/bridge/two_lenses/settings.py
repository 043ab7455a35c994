"""Settings of the chapter *Two lenses on one layer*."""

EXPERIMENTS = ()
