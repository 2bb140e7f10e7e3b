"""Print a bearer token for trying the read API out on this machine, and keep the key it is checked with.

    export MOSTWATCHED_JWKS=data/demo-jwks.json
    .venv/bin/mostwatched serve &
    curl -H "Authorization: Bearer $(.venv/bin/python scripts/demo_token.py N14950)" \
         http://127.0.0.1:8000/api/v1/live-stream/funded

The key pair is made once, under data/ (which git ignores), and is good for nothing else. The token names the
user given (default N14950) and is valid for one hour.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

DATA = Path(__file__).parent.parent / "data"
PRIVATE_KEY = DATA / "demo-key.json"
PUBLIC_KEYS = DATA / "demo-jwks.json"
VALID_SECONDS = 3600


def main(user: str) -> None:
    """Print a token for `user`."""
    key = _key()
    claims = {"sub": user, "exp": int(time.time()) + VALID_SECONDS}
    print(jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key))


def _key() -> ECKey:
    if PRIVATE_KEY.exists():
        return ECKey.import_key(json.loads(PRIVATE_KEY.read_text()))
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    PRIVATE_KEY.touch(mode=0o600)
    PRIVATE_KEY.write_text(json.dumps(key.as_dict(private=True)))
    PUBLIC_KEYS.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    return key


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "N14950")
