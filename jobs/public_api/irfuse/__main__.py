"""`python -m irfuse` is the command `irfuse`."""

from irfuse import main

if __name__ == "__main__":
    main()
