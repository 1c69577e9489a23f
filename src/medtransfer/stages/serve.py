"""``medtransfer serve MODEL``: a page and JSON replies of a registered model, on loopback unless told otherwise."""

import os
import socket
from argparse import Namespace
from base64 import b64encode
from io import BytesIO
from typing import Any

from medtransfer.api import Model, explain_images, load_model, predict
from medtransfer.data.given import input_flags, pack_files
from medtransfer.data.images import to_depth
from medtransfer.data.windows import centre_crop
from medtransfer.errors import ConfigError
from medtransfer.explain.tiles import overlay_tile
from medtransfer.serving.app import Answer, Limits, build_app
from medtransfer.tracking.fetching import fetch_model
from medtransfer.training.progress import console

TOKEN = "MEDTRANSFER_TOKEN"
"""Environment variable of the token: an option would be in the list of processes."""
NOTICE = "For research. Not a medical device, not for diagnosis."


def run(options: Namespace) -> None:
    """Load the model, take the port and answer until interrupted."""
    import uvicorn

    name = options.model if options.model.startswith("models:/") else f"models:/{options.model}"
    folder = fetch_model(name)
    model = load_model(folder)
    about = {"model": name, "version": folder.name.rpartition("-")[2], "sha256": model.description["sha256"]}
    limits = Limits(
        waiting=options.waiting,
        megabytes=options.megabytes,
        seconds=options.seconds,
        hosts=(*Limits().hosts, options.host, *options.allow_host),
    )
    app = build_app(answerer(model), about | {"notice": NOTICE}, limits, token=os.environ.get(TOKEN, ""))
    with _listening(options.host, options.port) as listening:
        console.print(f"{name} version {about['version']}: http://{options.host}:{listening.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", server_header=False, h11_max_incomplete_event_size=65_536)
        uvicorn.Server(config).run(sockets=[listening])


def answerer(model: Model) -> Answer:
    """Return the function that answers one image: ``answer`` by column, ``flags``, and on demand ``map``."""
    prepared = model.description["preprocessing"]
    explained = model.description["extra"].get("positive") or model.outputs[0]

    def answer(data: bytes, wants_map: bool) -> dict[str, Any]:
        (row,) = predict(model, [data]).to_dict("records")
        reply: dict[str, Any] = {"answer": row, "flags": input_flags(data, prepared)}
        if wants_map:
            heat = explain_images(model, [data], output=explained)[0]
            reply |= {"explained": explained, "map": _png(_view(data, prepared), heat)}
        return reply

    return answer


def _view(data: bytes, prepared: dict[str, Any]) -> Any:
    """Return the image as the network sees it, grey uint8 ``[crop, crop]``."""
    import torch

    grey = to_depth(pack_files([data], prepared)[0], 8).mean(0).round().astype("uint8")
    return centre_crop(torch.from_numpy(grey), prepared["crop"]).numpy()


def _png(image: Any, heat: Any) -> str:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(overlay_tile(image, heat)).save(buffer, format="PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


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
