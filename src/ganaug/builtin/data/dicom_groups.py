"""Groups of DICOM images: series and studies by hash, patients by a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ganaug.errors import ConfigError

__all__ = ["hash_patient", "hash_uid", "read_key"]

#: Fewest bytes of a key: with fewer, patient numbers could be found by trying.
MIN_KEY_BYTES = 16


def hash_uid(kind: str, uid: str) -> str:
    """Return ``kind-`` and 16 hex digits for the UID of a series or study.

    No key is needed: UIDs are long and arbitrary, so none is found by trying all of them. The
    same series has the same name in every run, whoever made it.
    """
    return f"{kind}-{hashlib.sha256(f'{kind}:{uid}'.encode()).hexdigest()[:16]}"


def hash_patient(patient: str, key: bytes) -> str:
    """Return ``patient-`` and 16 hex digits: HMAC-SHA-256 of a patient's id.

    Patient numbers are short, so a plain hash could be undone by trying all of them; with a key
    that stays with the user it cannot. The same key gives the same names in every run.
    """
    return f"patient-{hmac.new(key, patient.encode(), 'sha256').hexdigest()[:16]}"


def read_key(path: str) -> bytes:
    """Return the key in a file; without a path, this user's own, made on first use.

    The user's key is ``ganaug/group.key`` below ``$XDG_CONFIG_HOME`` or ``~/.config``, readable by
    the user alone. Copy it to compare patients across machines. Raises ConfigError when the file
    cannot be read or is too short.
    """
    file = Path(path).expanduser() if path else _user_key()
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"Cannot read the group key {file}: {error.strerror}.") from error
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"The group key {file} has {len(key)} bytes; expected at least {MIN_KEY_BYTES}, at "
            "random."
        )
    return key


def _user_key() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    file = Path(base) / "ganaug" / "group.key"
    if file.exists():
        return file
    whole = file.with_name(f".{secrets.token_hex(8)}.key")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123
            opened.write(secrets.token_hex(32))
        os.link(whole, file)  # whole or not at all, and the first of two processes wins
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(
            f"Cannot make the group key {file}: {error.strerror}. Name a key file as group_key."
        ) from error
    finally:
        whole.unlink(missing_ok=True)
    return file
