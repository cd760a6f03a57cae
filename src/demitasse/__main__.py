"""``python -m demitasse``, for programs that start modules, such as torchrun."""

from demitasse.cli import main

if __name__ == "__main__":
    main()
