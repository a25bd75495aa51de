"""Parsers of log formats: chunks of bytes in, records out, in bounded memory. `registry.FORMATS` lists the formats."""
