"""`python -m oahega_edge` is `oahega-edge`."""

from oahega_edge.cli import main

main()
