"""`python -m fluxpool_cluster` is the command `fluxpool-cluster`."""

import sys

from fluxpool_cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
