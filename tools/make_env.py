"""Write .env for docker compose: .env.example with a new secret in every empty line.

    python3 tools/make_env.py [TARGET]

An existing file is never changed: another FERNET_KEY would make the stored connections unreadable.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / ".env.example"


def fill_secrets(example: str) -> str:
    """Return the example with a new secret after every `NAME=`."""
    return (
        "\n".join(line + new_secret(line[:-1]) if line.endswith("=") else line for line in example.splitlines()) + "\n"
    )


def new_secret(name: str) -> str:
    """Return a random secret: 32 bytes in URL-safe base64 for the Fernet key, hexadecimal digits for the others."""
    if name == "FERNET_KEY":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(8 if name == "ADMIN_PASSWORD" else 32)


def main() -> int:
    """Write the file and return the exit code."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".env")
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{target} exists and was not changed; remove it to create new secrets", file=sys.stderr)
        return 2
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        f.write(fill_secrets(EXAMPLE.read_text(encoding="utf-8")))
    print(f"{target} written; the password of user admin is ADMIN_PASSWORD in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
