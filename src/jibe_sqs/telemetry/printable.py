"""Other people's text on a terminal: keys, names and bodies may hold anything, and are not to drive it."""


def printable(text: str, kept: str = "") -> str:
    """The text, with a replacement character for each that would not be seen as itself; but for those to be `kept`."""
    return "".join(c if c.isprintable() or c in kept else "\N{REPLACEMENT CHARACTER}" for c in text)
