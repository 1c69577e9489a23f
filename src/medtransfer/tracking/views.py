"""A comparison that the MLflow UI opens from one link: filter, grouping, columns and a chart, saved at the experiment.

MLflow keeps such a view as an experiment's tag, the one that its own *Save view* writes, so it is also in the UI's
*Views* list. Nothing else carries a grouping: the address of a page holds the filter and the order only.
"""

import json
import logging
import re
import time
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from medtransfer.config import Config
from medtransfer.errors import TrackingError
from medtransfer.tracking.address import portable_uri, tracking_uri, ui_address
from medtransfer.tracking.refusals import first_line, refused
from medtransfer.tracking.store import client

FIT = "fit"
"""Tag of a run: variant and condition in words, the same for all seeds. A run that was replaced has none."""
IN_PLACE = f"tags.{FIT} != ''"
"""Filter of the runs that have the tag: those that are described and that no other has replaced."""
_TAG = "mlflow.sharedViewState."
_NAME_PX, _COLUMN_PX = 460, 150  # whole names of groups and "0.8125 (average)"
log = logging.getLogger("medtransfer.tracking")


class RunView(Config):
    """What a saved view of an experiment shows: mean of a metric, run group by run group, in table and chart.

    Attributes:
        name: Title in the UI's *Views* list; lower-cased it is the key in the link.
        query: MLflow's search filter, such as ``tags.phase = 'finetune'``.
        group_by: Tag whose values are the groups; ``fit`` has one value per variant and condition, so that seeds alone
            are averaged.
        metric: Charted, shown as a column, and sorted by, best first.
        columns: Further metrics shown as columns.
        tags: Tags shown as columns.
    """

    name: str = Field(pattern=r"^[A-Za-z][\w ,-]{0,99}$")
    query: str = Field(min_length=1)
    group_by: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    columns: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def save_view(experiment: str, view: RunView, *, uri: str | None = None) -> str | None:
    """Save a view in an experiment, in place of one of the same name, and return the link that opens it.

    Args:
        experiment: Name of an experiment that has runs.
        view: What the link shows.
        uri: Tracking address; ``MLFLOW_TRACKING_URI`` or the workspace's SQLite file by default.

    Returns:
        The link, on the server itself or, for a database, where ``make ui`` serves it. None when the store is down:
        a warning says so, and the next call saves the view.

    Raises:
        TrackingError: the store answers and has no such experiment, or refuses to save the view.
    """
    from mlflow.exceptions import MlflowException

    address = tracking_uri(uri)
    try:
        store = client(address)
        home = store.get_experiment_by_name(experiment)
    except (TrackingError, MlflowException) as error:
        log.warning("%s: the view %r was not saved (%s)", portable_uri(address), view.name, first_line(error))
        return None
    if home is None:
        raise TrackingError(f"{portable_uri(address)}: no experiment {experiment!r} to save a view in: run a fit first")
    with refused(store, f"{portable_uri(address)}: experiment {experiment!r} was deleted meanwhile: run a fit first"):
        store.set_experiment_tag(home.experiment_id, _TAG + _key(view), _envelope(view))
    return _link(ui_address(address), home.experiment_id, view)


def _link(server: str, experiment_id: str, view: RunView) -> str:
    options = {"viewStateShareKey": _key(view), "workflowType": "machine_learning", "compareRunsMode": "CHART"}
    return f"{server}/#/experiments/{experiment_id}/runs?{urlencode(options)}"


def _key(view: RunView) -> str:
    return re.sub(r"\W+", "-", view.name.lower())


def _envelope(view: RunView) -> str:
    """Return the tag's value as the UI writes it: a name, times in ms, and the state as text within."""
    now = int(time.time() * 1000)
    return json.dumps({"name": view.name, "createdAt": now, "updatedAt": now, "state": json.dumps(_state(view))})


def _state(view: RunView) -> dict[str, Any]:
    """Return the state of the UI's run table and charts, under the names that the UI gives its parts."""
    grouping = {"mode": "tag", "groupByData": view.group_by}
    section = {"uuid": "comparison", "name": view.metric.partition("/")[0], "display": True, "isReordered": True}
    chart = {"uuid": "comparison-chart", "type": "BAR", "metricKey": view.metric, "displayName": view.metric}
    generated = {"deleted": False, "isGenerated": True}
    columns = [f"metrics.`{name}`" for name in (view.metric, *view.columns)] + [f"tags.`{name}`" for name in view.tags]
    widths = {"attributes.`Run Name`": _NAME_PX} | dict.fromkeys(columns, _COLUMN_PX)
    return {
        "searchFilter": view.query,
        "orderByKey": f"metrics.`{view.metric}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [grouping]},
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # keeps the section first; the UI adds the others behind it
        "compareRunSections": [section | generated | {"columns": 2}],
        "compareRunCharts": [chart | generated | {"metricSectionId": "comparison", "runsCountToCompare": 10}],
    }
