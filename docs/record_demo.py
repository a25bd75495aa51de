"""Write docs/demo.svg: run `jibe-sqs demo`, and draw what it prints as a terminal shows it."""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

OUTPUT: Final = Path(__file__).parent / "demo.svg"
WIDTH: Final = 100
"""Columns of the terminal."""

BLACK, RED, GREEN, YELLOW = (72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)
BLUE, MAGENTA, CYAN, WHITE = (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)
THEME: Final = TerminalTheme((22, 27, 34), (230, 237, 243), [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE])


def recorded() -> str:
    """Run the demo, and return what it printed, with colours. Raises `CalledProcessError` if it failed."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    command = [sys.executable, "-m", "jibe_sqs", "demo"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return done.stdout


def drawn(output: str) -> str:
    """Return an SVG of a terminal with the command and its output."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text("$ make demo", "bold"))
    for line in output.rstrip().splitlines():
        console.print(Text.from_ansi(line.rstrip()))
    svg = console.export_svg(title="make demo", theme=THEME, unique_id="demo")
    # Without the fonts from a server: a picture in a page may not load them, and the local fonts do.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    OUTPUT.write_text(drawn(recorded()), encoding="utf-8")
