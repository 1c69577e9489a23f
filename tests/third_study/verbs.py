"""Run the command line verb by verb, then the registered model through MLflow; a process of its own runs this file."""

import json
import sys
from pathlib import Path

import medtransfer
from medtransfer.cli import run


def main(verbs, model, served):
    assert Path(medtransfer.__file__).is_relative_to(Path.cwd()), f"{medtransfer.__file__} is not the copy"
    for words in verbs:
        print(f"medtransfer {' '.join(words)}", flush=True)
        assert run(words) == 0, words

    import mlflow
    import numpy as np

    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48)).astype("float32")
    mlflow.pyfunc.load_model(model).predict(images).to_csv(served, index=False)


main(json.loads(sys.argv[1]), *sys.argv[2:])
