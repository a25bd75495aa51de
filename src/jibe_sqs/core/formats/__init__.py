"""Log formats, a module each: chunks of bytes in, records out, in bounded memory whatever the size."""
