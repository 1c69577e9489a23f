"""Two processes that promote different versions at the same moment, many times over. Run as a program by the tests.

``python racing.py URI RACES``: prints a JSON list of how many promotions succeeded in each race.
"""

import json
import multiprocessing
import sys
from importlib import import_module

from medtransfer.errors import TrackingError
from medtransfer.tracking.store import client

NAME, ALIAS = "raced", "champion"


def promoter(number, uri, races, barrier, results):
    """Promote in each race another version than the other process and than the present champion."""
    promotions = import_module("medtransfer.tracking.promotions")
    client(uri)

    def meet(*_, **__):
        barrier.wait(60)  # both have read the log, neither has written
        return []

    promotions.examine = meet
    for race in range(races):
        version = 1 + number + 2 * (race % 2)
        try:
            promotions.promote(NAME, version, ALIAS, f"race {race}", who=f"promoter {number}", uri=uri)
            results.put((race, True, ""))
        except TrackingError as error:
            results.put((race, False, str(error)))
        barrier.wait(60)


def main(uri, races):
    store = client(uri)
    store.create_registered_model(NAME)
    for number in range(4):
        store.create_model_version(NAME, f"s3://nowhere/{number}")
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=promoter, args=(n, uri, races, barrier, results)) for n in range(2)]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=300) for _ in range(2 * races)]
    for worker in workers:
        worker.join(60)
    assert all("moved it to version" in why for _, won, why in told if not won), told
    print(json.dumps([sum(won for each, won, _ in told if each == race) for race in range(races)]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
