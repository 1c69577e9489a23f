"""How columns of this study are written in tables and figures."""


def column_title(name: str) -> str:
    """Return a column's name as it is written: ``tf_efficientnet_lite0_chest`` loses its prefix."""
    return name.removeprefix("tf_efficientnet_").replace("_", " ")
