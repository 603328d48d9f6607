#!/usr/bin/env python3
"""The commands of the guides for operators, for the tests that run them.

A block of the guides is headed by its language and by the test that runs it, with a name:

    ```sh deb:install

The tests, and where they are, are in RUNNERS below; tests/clients/test_guide.py checks that no block
and no command within a line of text is without one, and that both guides have the same. Each test
fails if it leaves one of its blocks out.

    guide.py names TEST          the names of its blocks, in order
    guide.py show TEST:NAME      the block
    guide.py inline COMMAND      nothing, if the guides have COMMAND within a line of text
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
GUIDES = {"en": HERE / "guide.en.md", "ja": HERE / "guide.ja.md"}

# Each test, and the files in which it does it.
RUNNERS = {
    "deb": ("packaging/deb/guide.sh",),
    "docker": ("packaging/docker/test.sh",),
    "clients": (
        "tests/clients/test_guide.py",
        "tests/clients/test_guide_moving.py",
        "tests/clients/test_guide_proxy.py",
    ),
}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    label: str  # TEST:NAME, or nothing
    text: str
    line: int

    @property
    def commands(self) -> str:
        """The text without comments, which each guide writes in its own language."""
        lines = (re.sub(r"(^|\s+)#(\s.*|$)", "", line) for line in self.text.splitlines())
        return "\n".join(line for line in lines if line.strip())


class Guide:
    """One of the guides."""

    def __init__(self, path: Path):
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.blocks, self.prose = _parse(self.text)

    def block(self, label: str) -> Block:
        """The block with that label."""
        found = [block for block in self.blocks if block.label == label]
        if len(found) != 1:
            raise SystemExit(f"guide: {len(found)} blocks are called {label} in {self.path.name}")
        return found[0]

    def names(self, runner: str) -> list[str]:
        """The names of a test's blocks, in order."""
        labels = (block.label.partition(":") for block in self.blocks)
        return [name for test, _, name in labels if test == runner]

    def spans(self) -> list[str]:
        """What is set as code within lines of text."""
        return re.findall(r"(?<!`)`([^`\n]+)`", self.prose)

    def section(self, number: int) -> str:
        """The text below the heading of that number, from 1, of the second level."""
        return re.split(r"^## ", self.text, flags=re.MULTILINE)[number]


def _parse(text: str) -> tuple[list[Block], str]:
    blocks, prose, inside = [], [], None
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None and line.startswith("```"):
            language, _, label = line[3:].partition(" ")
            inside = (language, label, [], number)
        elif inside is None:
            prose.append(line)
        elif line == "```":
            language, label, lines, start = inside
            blocks.append(Block(language, label, "\n".join(lines) + "\n", start))
            inside = None
        else:
            inside[2].append(line)
    if inside is not None:
        raise SystemExit(f"guide: the block in line {inside[3]} does not end")
    return blocks, "\n".join(prose)


def english() -> Guide:
    """The guide whose blocks are run; those of the other one are the same."""
    return Guide(GUIDES["en"])


def main(arguments: list[str]) -> int:
    guide = english()
    match arguments:
        case ["names", runner]:
            print("\n".join(guide.names(runner)))
        case ["show", label]:
            print(guide.block(label).text, end="")
        case ["inline", command]:
            if command not in guide.spans():
                print(f"guide: not in {guide.path.name}: {command}", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
