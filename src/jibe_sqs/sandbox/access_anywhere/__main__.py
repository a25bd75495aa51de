"""`python -m jibe_sqs.sandbox.access_anywhere` runs the server as a process."""

import sys

from jibe_sqs.sandbox.access_anywhere.process import main

sys.exit(main())
