"""`python -m oahega_build`."""

from oahega_build.cli import main

main()
