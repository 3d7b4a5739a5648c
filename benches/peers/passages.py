"""Makes passages.txt, one passage a line, from folders of text, HTML, reStructuredText and manual pages.

usage: passages.py OUT FOLDER...

Files ending in .gz or .dz are unpacked on the way; files that are no UTF-8 text are left out. A passage has about
120 words and ends where a file ends; passages under 20 words and repeated ones are left out. The order is that of a
fixed shuffle, so that any first part of the file is a fair sample.
"""

import gzip
import html.parser
import pathlib
import random
import re
import sys

WORDS, LEAST = 120, 20
PLAIN = {".txt", ".rst", ".md", ".html", ".htm", ".dict", ".adj", ".adv", ".noun", ".verb"}
MANUAL = re.compile(r"\.[1-9][a-z]*$")
ROFF = re.compile(r"\\f[A-Z]|\\f\([A-Z]{2}|\\[&:/,|^]|\\\([a-z]{2}|\\-|^\.\\\".*$|^['.][A-Za-z]{1,3}\b", re.MULTILINE)


class Text(html.parser.HTMLParser):
    """Collects the text of a page without scripts and styles."""

    def __init__(self):
        super().__init__()
        self.parts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def read(path):
    """The words of a file, or nothing if it is not one of the known kinds."""
    name = path.name
    packed = name.endswith((".gz", ".dz"))
    name = name[:-3] if packed else name
    suffix, manual = pathlib.PurePath(name).suffix, MANUAL.search(name)
    if suffix not in PLAIN and not manual:
        return []
    data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return []
    if suffix in (".html", ".htm"):
        page = Text()
        page.feed(text)
        text = " ".join(page.parts)
    elif manual:
        text = ROFF.sub(" ", text)
    return text.split()


def main():
    out, folders = sys.argv[1], sys.argv[2:]
    seen = set()
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            words = read(path)
            for start in range(0, len(words), WORDS):
                part = words[start : start + WORDS]
                if len(part) >= LEAST:
                    seen.add(" ".join(part))
    passages = sorted(seen)
    random.Random(7).shuffle(passages)
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(passage + "\n" for passage in passages)
    print(f"{len(passages)} passages, {sum(map(len, passages)) / 1e6:.0f} MB of text")


if __name__ == "__main__":
    main()
