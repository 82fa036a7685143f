"""Pin the container images in the Dockerfile and docker-compose.yaml to the digests that their tags have now.

    python3 tools/pin_images.py [--check] [FILE...]

An image is written as NAME:TAG@sha256:DIGEST. The digest decides what is used; the tag says what it is. Run this
command to get security updates of the base images, and test before you commit the result. With --check, nothing is
written, and the exit code is 1 if a digest is outdated. Needs no packages; asks the registries without logging in.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "Dockerfile", ROOT / "docker-compose.yaml"]
PINNED = re.compile(r"(?P<image>[\w./-]+(?::\d+)?[\w./-]*:[\w.-]+)@(?P<digest>sha256:[0-9a-f]{64})")
MEDIA_TYPES = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)


def manifest_url(image: str) -> str:
    """Return the address of the manifest of an image, e.g. of `postgres:16` or `ghcr.io/owner/name:1.0`."""
    name, _, tag = image.rpartition(":")
    registry, _, repository = name.partition("/")
    if not ("." in registry or ":" in registry):  # Docker Hub
        registry, repository = "registry-1.docker.io", name if "/" in name else f"library/{name}"
    scheme = "http" if registry.startswith("127.0.0.1:") else "https"
    return f"{scheme}://{registry}/v2/{repository}/manifests/{tag}"


def current_digest(image: str) -> str:
    """Ask the registry for the digest of an image. Raises OSError if it does not answer or does not have the image."""
    headers = {"Accept": MEDIA_TYPES}
    url = manifest_url(image)
    try:
        return _digest(url, headers)
    except urllib.error.HTTPError as e:
        if e.code != 401:
            raise
        token = _anonymous_token(e.headers["WWW-Authenticate"])
    return _digest(url, {**headers, "Authorization": f"Bearer {token}"})


def _digest(url: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, headers=headers, method="HEAD")
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.headers["Docker-Content-Digest"])


def _anonymous_token(challenge: str) -> str:
    """Get the token that the registry asks for: `Bearer realm="https://...",service="...",scope="..."`."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    url = f"{fields['realm']}?service={fields.get('service', '')}&scope={fields.get('scope', '')}"
    with urllib.request.urlopen(url, timeout=30) as response:
        answer = json.load(response)
    return str(answer.get("token") or answer["access_token"])


def pin(text: str, digest_of: Callable[[str], str]) -> str:
    """Return `text` with the digests that `digest_of` returns for the images."""
    return PINNED.sub(lambda m: f"{m['image']}@{digest_of(m['image'])}", text)


def main(argv: list[str] | None = None) -> int:
    """Pin the images. Return 1 if --check finds an outdated digest, 2 if a registry gives none, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a digest is outdated")
    parser.add_argument("files", nargs="*", type=Path, default=FILES, metavar="FILE")
    args = parser.parse_args(argv)
    texts = {path: path.read_text(encoding="utf-8") for path in args.files}
    digests: dict[str, str] = {}
    for image, digest in sorted({(m["image"], m["digest"]) for text in texts.values() for m in PINNED.finditer(text)}):
        try:
            digests[image] = current_digest(image)
        except OSError as e:
            print(
                f"{image}: the registry did not give its digest ({e}); check the name and the network", file=sys.stderr
            )
            return 2
        print(f"{image}: {'unchanged' if digests[image] == digest else f'{digest} -> {digests[image]}'}")
    outdated = {path: new for path, text in texts.items() if (new := pin(text, digests.__getitem__)) != text}
    if args.check:
        return 1 if outdated else 0
    for path, text in outdated.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
