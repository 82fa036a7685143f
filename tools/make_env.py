"""Write what docker compose needs before its first start: settings in .env, and new secrets in the folder `secrets`.

    python3 tools/make_env.py [--gpu | --cpu] [--s3] [--folder FOLDER]

Never changes an existing file, because a new encryption key would make the stored connections unreadable. Files that
are missing are written, so that the command can be repeated. Needs no packages.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE_USER = 50000
CONNECTIONS = """\
# Airflow connections, one per API key (docs/deploy.md). Airflow reads this file again for every task. Example:
#
# gemini_k1:
#   conn_type: gemini
#   password: the API key
#   extra: {project: team-a, rpm: 10}
{}
"""


def new_secrets(*, s3: bool) -> dict[str, str]:
    """Return the contents of the secret files by name. Without `s3`, there are no keys for an S3 server yet."""
    return {
        "postgres_password": secrets.token_hex(32),
        "redis_password": secrets.token_hex(32),
        # Encrypts the connections in the database. If it is lost, they must be entered again.
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        # Sign the tokens between Airflow's components, and browser sessions and requests for logs.
        "jwt_secret": secrets.token_hex(32),
        "api_secret_key": secrets.token_hex(32),
        "passwords.json": json.dumps({"admin": secrets.token_hex(8)}) + "\n",
        "connections.yaml": CONNECTIONS,
        "hf_token": "",
        "aws_access_key_id": secrets.token_hex(10) if s3 else "",
        "aws_secret_access_key": secrets.token_hex(20) if s3 else "",
    }


def settings(example: str, *, gpu: bool, s3: bool, user: int) -> str:
    """Return the text of .env.example with its first two settings filled in, and the settings of the S3 server."""
    profile = "gpu" if gpu else "cpu"
    text = example.replace("AIRFLOW_UID=\n", f"AIRFLOW_UID={user}\n")
    text = text.replace("COMPOSE_PROFILES=\n", f"COMPOSE_PROFILES={profile}{',s3' if s3 else ''}\n")
    if s3:
        text = text.replace("#ARTIFACT_ROOT=/opt/airflow/artifacts\n", "ARTIFACT_ROOT=s3://insurance-rag/artifacts\n")
        text = text.replace("#AWS_ENDPOINT_URL=", "AWS_ENDPOINT_URL=")
    return text


def write_new(path: Path, text: str, owner: int) -> bool:
    """Write a file that only `owner` can read. Return False, and change nothing, if the file exists."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    if owner != os.getuid():
        os.chown(path, owner, -1)
    return True


def main(argv: list[str] | None = None) -> int:
    """Write the files. Return 2 if all of them exist already, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--gpu", action="store_true", help="train on NVIDIA GPUs (default if nvidia-smi is found)")
    device.add_argument("--cpu", action="store_true", help="train on the CPU")
    parser.add_argument("--s3", action="store_true", help="store artifacts on a local S3 server")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write .env and secrets/ (default: here)")
    args = parser.parse_args(argv)

    # The containers do not run as root, so root gives the secrets to the user of the image.
    user = os.getuid() or IMAGE_USER
    gpu = args.gpu or (not args.cpu and shutil.which("nvidia-smi") is not None)
    folder = args.folder / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    files = {folder / name: text for name, text in new_secrets(s3=args.s3).items()}
    files[args.folder / ".env"] = settings(example, gpu=gpu, s3=args.s3, user=user)
    # .env belongs to the user who runs docker compose; the containers do not read it.
    written = [p for p, text in files.items() if write_new(p, text, os.getuid() if p.name == ".env" else user)]
    if not written:
        print(f"{args.folder / '.env'} and {folder} exist and were not changed; delete them first", file=sys.stderr)
        return 2
    kept = "" if len(written) == len(files) else f"; {len(files) - len(written)} files existed and were not changed"
    print(f"{len(written)} files were written{kept}; the password of the user admin is in {folder / 'passwords.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
