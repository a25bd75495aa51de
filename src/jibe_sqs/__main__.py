"""`python -m jibe_sqs`."""

from jibe_sqs.cli import main

if __name__ == "__main__":
    main()
