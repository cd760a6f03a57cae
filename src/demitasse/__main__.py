"""``python -m demitasse``, for those who start processes by module, such as torchrun."""

from demitasse.cli import main

if __name__ == "__main__":
    main()
