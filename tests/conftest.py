"""Every test runs as on nobody's machine: the environment of whoever runs it says nothing to it."""

import os
import signal

PREFIXES = ("AWS_", "JIBE_", "LC_", "RCLONE_")
NAMES = {
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("COLUMNS", "LINES", "TERM", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("LANG", "LANGUAGE", "PYTHONWARNINGS"),
}

# Not in a fixture: modules look when they are imported, and the processes of the session's fixtures inherit it.
for name in list(os.environ):
    if name.upper().startswith(PREFIXES) or name.upper() in NAMES:
        del os.environ[name]
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

# In the background of a shell Ctrl-C is ignored, and so by every process that is started from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
