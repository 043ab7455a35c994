"""`python -m iclbook`."""

from iclbook.cli import main

main()
