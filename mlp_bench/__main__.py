"""So that `python -m mlp_bench` is the command, too"""

from mlp_bench.cli import main

if __name__ == "__main__":
    main()
