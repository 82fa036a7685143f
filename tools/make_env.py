"""Write .env for docker compose: a copy of .env.example in which every `NAME=` without a value gets a new secret.

    python3 tools/make_env.py [TARGET]

Never changes an existing file, because a new FERNET_KEY would make the stored connections unreadable.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / ".env.example"


def fill_secrets(example: str) -> str:
    """Return the text of .env.example with a new secret in every line that ends with `=`."""
    return (
        "\n".join(line + new_secret(line[:-1]) if line.endswith("=") else line for line in example.splitlines()) + "\n"
    )


def new_secret(name: str) -> str:
    """Return a random secret. FERNET_KEY gets 32 bytes in URL-safe base64, every other name hexadecimal digits."""
    if name == "FERNET_KEY":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(8 if name == "ADMIN_PASSWORD" else 32)


def main() -> int:
    """Write TARGET (default: .env). Return 2 if the file exists, otherwise 0."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".env")
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{target} exists and was not changed; delete it first to create new secrets", file=sys.stderr)
        return 2
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        f.write(fill_secrets(EXAMPLE.read_text(encoding="utf-8")))
    print(f"{target} was written; ADMIN_PASSWORD in it is the password of the user admin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
