"""The packages that a registered model needs, in the versions that are installed here."""

from importlib.metadata import PackageNotFoundError, version

from medtransfer.errors import ModelError

PACKAGES = (
    "jaxtyping",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "pydicom",
    "pyjpegls",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)


def pins() -> list[str]:
    """Return the exact versions of the packages that a served model needs.

    Raises:
        ModelError: some are not installed.
    """
    found, absent = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            absent.append(package)
    if absent:
        raise ModelError(
            f"not installed here: {', '.join(absent)}; a registered model names the version of every package that it "
            "needs: run make setup, or pip install -r requirements.lock"
        )
    return found
