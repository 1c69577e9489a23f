"""``medtransfer serve MODEL``: a page and JSON replies of a registered model, on loopback unless told otherwise."""

import os
import socket
from argparse import Namespace

from medtransfer.errors import ConfigError
from medtransfer.serving.app import Limits, build_app
from medtransfer.stages.serving import Served
from medtransfer.training.progress import console

TOKEN = "MEDTRANSFER_TOKEN"
"""Environment variable of the token: an option would be in the list of processes."""


def run(options: Namespace) -> None:
    """Load the model, take the port and answer until interrupted."""
    import uvicorn

    name = options.model if options.model.startswith("models:/") else f"models:/{options.model}"
    served = Served(name)
    limits = Limits(
        waiting=options.waiting,
        megabytes=options.megabytes,
        megabytes_waiting=max(options.megabytes, options.megabytes_waiting),
        seconds=options.seconds,
        hosts=(*Limits().hosts, options.host, *options.allow_host),
    )
    app = build_app(served, served.about, limits, token=os.environ.get(TOKEN, ""), page=served.page)
    with _listening(options.host, options.port) as listening:
        console.print(f"{name} version {served.now.version}: http://{options.host}:{listening.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", server_header=False, h11_max_incomplete_event_size=65_536)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that has the port.

    Raises:
        ConfigError: it is taken, or the address is not one of this machine.
    """
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise ConfigError(f"{host}:{port}: {error.strerror}; give another --port, or --port 0 for any") from error
    taken.listen(128)
    return taken
