"""Where one installation keeps its things: the data folder, and the sockets of its processes in it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from techstone.adapters.storage.target import Target, parse
from techstone.app import config
from techstone.app.config import ConfigError
from techstone.app.sections import SQLITE, Config

# sun_path holds 108 bytes on Linux and 104 on macOS, with the final zero (unix(7)).
_LONGEST_SOCKET_PATH = 100
_CONFIG_NAME = "techstone.toml"


class Place(msgspec.Struct, frozen=True):
    """A configuration and the folders that belong to it. `file` is None where no configuration file is used.

    `worker` is which of the gateways on this data folder it is for: each has a journal and a snapshot of its own, and
    the first one's are where those of a single gateway are, so that more or fewer of them lose nothing.
    """

    config: Config
    file: Path | None
    data: Path
    worker: int = 1

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "techstone.db"

    def find_server(self) -> Target | None:
        """Return where the database is if it is a server's, with its password; raise ConfigError."""
        data = self.config.data
        if data.database == SQLITE:
            return None
        name = data.database_password_env
        if name is None:
            return parse(data.database)
        password = os.environ.get(name)
        if not password:
            raise ConfigError(f"data.database_password_env: the variable {name} is not set")
        return msgspec.structs.replace(parse(data.database), password=password)

    @property
    def own(self) -> Path:
        """The folder of what belongs to this gateway alone."""
        return self.data if self.worker == 1 else self.data / f"worker-{self.worker}"

    @property
    def snapshot(self) -> Path:
        """The last good snapshot, by which a gateway starts while control is down."""
        return self.own / "snapshot.json"

    @property
    def journal(self) -> Path:
        """The folder of the journal."""
        return self.own / "journal"

    @property
    def admissions(self) -> Path:
        """Who was admitted lately, for the limits of a gateway that was killed."""
        return self.journal / "admissions"

    @property
    def roster(self) -> Path:
        """Which gateways share the limits, for a start while Redis is away."""
        return self.own / "gateways"

    @property
    def run(self) -> Path:
        """The folder of the sockets; outside of the data folder only where its path is too long for a socket."""
        folder = self.data / "run"
        if len(os.fsencode(folder / "internal.sock")) <= _LONGEST_SOCKET_PATH:
            return folder
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"techstone-{os.getuid()}-{name}"

    @property
    def public_socket(self) -> str:
        """Where control serves pages to the gateway's forward."""
        return str(self.run / "public.sock")

    @property
    def internal_socket(self) -> str:
        """Where control serves snapshots and commands; never the one that forwarded requests reach."""
        return str(self.run / "internal.sock")

    def prepare(self) -> None:
        """Create the folders, readable for nobody else; raise ConfigError."""
        for folder in (self.data, self.run, self.own, self.journal):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                owner = folder.stat().st_uid
            except OSError as error:
                raise ConfigError(f"data folder {folder}: {error.strerror or error}") from error
            # A folder under /tmp that somebody else made first is not ours.
            if owner != os.getuid():
                raise ConfigError(f"data folder {folder}: belongs to another user; choose another with --data")


def find(file: str | None, data: str | None) -> Place:
    """Return the place that `--config` and `--data` name, else CONFIG and DATA, else the current folder's.

    Raise ConfigError.
    """
    name = file or os.environ.get("CONFIG")
    path: Path | None = Path(name or _CONFIG_NAME).absolute()
    found, base = Config(), Path.cwd()
    if path is not None and (name or path.exists()):
        found, base = config.read(path), path.parent
    else:
        path = None
    chosen = data or os.environ.get("DATA")
    folder = Path(chosen).absolute() if chosen else (base / found.data.dir).absolute()
    return Place(found, path, folder)
