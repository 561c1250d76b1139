"""`python -m fluxpool_inference` and the command `fluxpool-inference`."""

import sys

from fluxpool_inference.cli import main

if __name__ == "__main__":
    sys.exit(main())
