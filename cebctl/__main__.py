"""`python -m cebctl`: the command line."""

from cebctl.app import main

main()
