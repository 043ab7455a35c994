"""The chapter *Where it stands among related theory* computes nothing that is stored."""

EXPERIMENTS = ()
