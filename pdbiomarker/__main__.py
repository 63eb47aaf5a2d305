"""``python -m pdbiomarker`` is the command line."""

from pdbiomarker.cli import main

if __name__ == "__main__":
    main()
