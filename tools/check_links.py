"""Ask every address that the book links for an answer.

usage: python tools/check_links.py [FOLDER]     (default: the repository)

Prints a line for each address that did not answer well. Dead is what answers 404 or 410, and a host
that no name server knows; then the exit status is 1. Whatever else goes wrong (a host that is slow,
or wants no programs) is printed as a warning. Without a network nothing is checked.
"""

import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

KNOWN_HOSTS = ("https://github.com", "https://arxiv.org")
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "book/references.bib")
ADDRESS = re.compile(r"https?://[^\s\"'`<>{}|\\]+")
DEAD = (404, 410)


def texts(root):
    """(name, text) of every file that may hold links."""
    named = [Path(root, name) for name in NAMES]
    for path in [*named, *sorted(Path(root, "book").glob("*.md"))]:
        if path.exists():
            yield path.name, path.read_text("utf-8")
    for path in sorted(Path(root, "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.name, "".join(cell["source"])


def addresses(root):
    """{address: names of the files that link it}, without what stands behind a #."""
    found = {}
    for name, text in texts(root):
        links = ADDRESS.findall(text)
        links += [f"https://doi.org/{doi}" for doi in re.findall(r"\bdoi\s*=\s*{([^}]+)}", text)]
        for link in links:
            link = link.partition("#")[0].rstrip(".,;:!?*_")
            while link.count(")") > link.count("("):
                link = link.rpartition(")")[0]
            if (urlsplit(link).hostname or "localhost") not in ("localhost", "127.0.0.1"):
                found.setdefault(link, set()).add(name)
    return found


def answer(link, seconds=20):
    """The status that an address answers with at last, or the error that kept it from that."""
    for method in ("HEAD", "GET"):
        request = Request(link, method=method, headers={"User-Agent": "Mozilla/5.0 (link check)"})
        try:
            with urlopen(request, timeout=seconds) as reply:
                return reply.status
        except HTTPError as error:
            status = error.code
            error.close()
        except (OSError, ValueError) as error:
            return getattr(error, "reason", error)
    return status


def is_dead(status):
    unknown = isinstance(status, socket.gaierror) and status.errno == socket.EAI_NONAME
    return unknown or status in DEAD


def has_network():
    return all(answer(host, 5) == 200 for host in KNOWN_HOSTS)


def main(root, network=has_network):
    found = addresses(root)
    if not network():
        print(f"No network: none of the {len(found)} links was checked.")
        return 0
    with ThreadPoolExecutor(8) as pool:
        statuses = dict(zip(found, pool.map(answer, found), strict=True))
    failed = {link: status for link, status in statuses.items() if status != 200}
    for link, status in sorted(failed.items(), key=lambda pair: (not is_dead(pair[1]), pair[0])):
        kind = "dead" if is_dead(status) else "warning"
        print(f"{kind}: {link} ({', '.join(sorted(found[link]))}): {status}")
    dead = sum(map(is_dead, failed.values()))
    print(f"{len(found)} links, {dead} dead, {len(failed) - dead} warnings")
    return int(dead > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[1]))
