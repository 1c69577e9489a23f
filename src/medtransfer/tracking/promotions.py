"""Who moved an alias to which version, when and why: a log that agrees with the alias after any kill.

A move has three steps: (1) entry ``n + 1`` is claimed in the :mod:`.ledger`, which one of several processes gets; (2)
the alias is set; (3) the entry is noted as carried out. Whoever looks at the log first makes it agree with the alias:
it carries out an entry whose maker was killed, and enters a move that was made elsewhere, in MLflow's pages for
example. The order is that of the numbers; clocks decide nothing.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from medtransfer.errors import GateClosed, TrackingError
from medtransfer.tracking.gates import Compare, Outcome, examine, not_compared
from medtransfer.tracking.ledger import Ledger
from medtransfer.tracking.names import check_model_name
from medtransfer.tracking.refusals import is_absent, refused
from medtransfer.tracking.store import client

Kind = Literal["promote", "rollback", "outside"]
WAIT_SECONDS = 3.0
"""How long a look waits for the maker of an unfinished entry before it takes the maker for dead."""
_LONGEST = 1000
_OUTSIDE = "moved outside of medtransfer, seen at this time"


@dataclass(frozen=True)
class Promotion:
    """One entry of the log.

    Attributes:
        alias: what moved.
        version: where it is now; 0 = it was taken away.
        previous: where it was; 0 = nowhere.
        who: name of the user, or ``pipeline``.
        why: the reason.
        time: Unix time in seconds by the clock of the machine; of a move made elsewhere, when it was seen.
        kind: ``outside`` if it was made elsewhere.
        sha256: of the version's weights, so that an entry is about a network and not about a number.
        gates: what each gate said.
        override: why it was promoted although a gate was *not shown*; empty if all were open.
    """

    alias: str
    version: int
    previous: int
    who: str
    why: str
    time: float
    kind: Kind = "promote"
    sha256: str = ""
    gates: Mapping[str, str] = field(default_factory=dict)
    override: str = ""


def promote(
    name: str,
    version: int,
    alias: str,
    why: str,
    *,
    who: str = "pipeline",
    override: str = "",
    compare: Compare = not_compared,
    uri: str | None = None,
) -> Promotion:
    """Move an alias to a version whose gates are open; return the log's entry, the existing one if it is there already.

    Args:
        name: registered model.
        version: its version.
        alias: the alias.
        why: the reason, kept in the log.
        who: the name of who does it.
        override: why the version is promoted even if a gate is *not shown*.
        compare: compares its validation predictions with those of the present one.
        uri: tracking address.

    Raises:
        TrackingError: the model, version or reason is missing, or somebody else moved the alias meanwhile.
        GateClosed: a gate is closed, or one is *not shown* and there is no override.
    """
    _check(name, alias, why, override)
    log = _Log(client(uri), name, alias)
    entries = log.settled()
    if log.current(entries) == version:
        return entries[-1]
    outcomes = examine(log.store, name, version, champion=log.current(entries), compare=compare)
    require_open(name, version, outcomes, override=override)
    shown = all(outcome.state == "open" for outcome in outcomes)
    gates = {outcome.gate: f"{outcome.state}: {outcome.reason}" for outcome in outcomes}
    entry = Promotion(alias, version, 0, who, why, time.time(), gates=gates, override="" if shown else override)
    return log.move(entries, entry)


def rollback(
    name: str, alias: str, *, why: str = "rollback", who: str = "pipeline", uri: str | None = None
) -> Promotion:
    """Move an alias back to the version that carried it before; once more goes one further back.

    Raises:
        TrackingError: there is no earlier version, or it is no longer the one that carried the alias.
        GateClosed: a gate of the earlier version is closed.
    """
    _check(name, alias, why)
    log = _Log(client(uri), name, alias)
    entries = log.settled()
    carried = _carried(entries)
    if len(carried) < 2:
        raise TrackingError(f"{name}@{alias}: no earlier version to go back to: promote one instead")
    former = carried[-2]
    outcomes = examine(log.store, name, former.version)
    require_open(name, former.version, outcomes)
    if log.sha256(former.version) != former.sha256:
        raise TrackingError(f"{name} version {former.version} is not the one that had the alias: promote one instead")
    gates = {outcome.gate: f"{outcome.state}: {outcome.reason}" for outcome in outcomes}
    return log.move(entries, Promotion(alias, former.version, 0, who, why, time.time(), "rollback", gates=gates))


def promotions(name: str, alias: str, *, uri: str | None = None) -> list[Promotion]:
    """Return the log of an alias in order, after making it agree with the alias.

    Raises:
        TrackingError: no such registered model.
    """
    _check(name, alias)
    return _Log(client(uri), name, alias).settled()


def require_open(name: str, version: int, outcomes: Sequence[Outcome], *, override: str = "") -> None:
    """Refuse a version with a closed gate, and one with a gate that is *not shown* if nobody gives a reason.

    Raises:
        GateClosed: it names the gate and its reason.
    """
    for outcome in outcomes:
        if outcome.state == "closed":
            raise GateClosed(
                f"{name} version {version} may not be promoted: gate {outcome.gate} is closed: {outcome.reason}"
            )
    for outcome in outcomes:
        if outcome.state == "not shown" and not override:
            raise GateClosed(
                f"{name} version {version} may not be promoted: gate {outcome.gate}: {outcome.reason}; "
                'to promote it all the same give --override "reason"'
            )


def in_force(entries: Sequence[Promotion], moment: float) -> Promotion | None:
    """Return the entry that was in force at a Unix time, None before the first.

    A clock that was set back does not reorder the log: an entry counts from the latest time of all entries up to it.
    """
    latest, found = 0.0, None
    for entry in entries:
        latest = max(latest, entry.time)
        if latest <= moment:
            found = entry
    return found


def _carried(entries: Sequence[Promotion]) -> list[Promotion]:
    """Return the versions that a rollback can go back through, the present one last."""
    carried: list[Promotion] = []
    for entry in entries:
        if entry.kind != "rollback":
            carried.append(entry)
            continue
        carried = carried[:-1]
        while carried and carried[-1].version != entry.version:
            carried.pop()
    return [entry for entry in carried[:-1] if entry.version] + carried[-1:]


def _check(name: str, alias: str, why: str = "-", override: str = "") -> None:
    """Refuse what cannot be right before the store is opened, which would make one where there is none."""
    check_model_name(name)
    check_model_name(alias)
    if not why.strip():
        raise TrackingError(f"{name}@{alias}: a promotion needs a reason: say why")
    if max(len(why), len(override)) > _LONGEST:
        raise TrackingError(f"{name}@{alias}: a reason has more than {_LONGEST} characters: say it shorter")


class _Log:
    """The log of an alias beside the alias itself."""

    def __init__(self, store: Any, name: str, alias: str) -> None:
        self.store, self.name, self.alias = store, name, alias
        self._alias_now()  # a name that does not exist makes no log
        self._ledger = Ledger(store, name, alias)

    def settled(self) -> list[Promotion]:
        """Return all entries after carrying out an unfinished one and entering a move that was made elsewhere."""
        suspect = -1
        while True:
            entries, done = self._read()
            now = self._alias_now()
            if entries and len(entries) not in done:
                self._wait(len(entries))
                self._carry_out(len(entries), entries[-1])
            elif now == self.current(entries):
                return entries
            elif suspect != now:  # a late writer corrects itself at once: look twice before calling it a move
                suspect = now
                time.sleep(0.2)
            else:
                before, sha256 = self.current(entries), self.sha256(now)
                moved = Promotion(self.alias, now, before, "unknown", _OUTSIDE, time.time(), "outside", sha256)
                if self._claim(len(entries) + 1, moved):
                    self._ledger.done(len(entries) + 1)

    def move(self, entries: Sequence[Promotion], entry: Promotion) -> Promotion:
        """Append an entry behind those that were read and carry it out.

        Raises:
            TrackingError: somebody else was faster.
        """
        number = len(entries) + 1
        entry = replace(entry, previous=self.current(entries), sha256=self.sha256(entry.version))
        if not self._claim(number, entry):
            winner = self._read()[0][number - 1]
            raise TrackingError(
                f"{self.name}@{self.alias}: {winner.who} moved it to version {winner.version} meanwhile "
                f"({winner.why}): look at the log and repeat if that is still right"
            )
        self._carry_out(number, entry)
        return entry

    def current(self, entries: Sequence[Promotion]) -> int:
        """Return the version that the log says has the alias; 0 if none."""
        return entries[-1].version if entries else 0

    def sha256(self, version: int) -> str:
        """Return the hash of a version's weights; empty if there is no such version."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.store.get_model_version(self.name, str(version)).tags.get("sha256", "")) if version else ""
        except MlflowException as error:
            if is_absent(error):
                return ""
            raise

    def _carry_out(self, number: int, entry: Promotion) -> None:
        """Set the alias and note it. If later entries exist by then, the last of them gets the alias."""
        if number in self._read()[1]:
            return
        while True:
            self._set_alias(entry.version)
            self._ledger.done(number)
            entries, _ = self._read()
            if len(entries) == number:
                return
            number, entry = len(entries), entries[-1]

    def _set_alias(self, version: int) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.store.set_registered_model_alias(self.name, self.alias, str(version))
        except MlflowException as error:
            if not is_absent(error):
                raise
            # the version was deleted after its entry: the alias stays, and the next look enters where it is

    def _wait(self, number: int) -> None:
        """Wait until the maker of an entry has carried it out, as long as it may be alive."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end and number not in self._read()[1]:
            time.sleep(0.1)

    def _read(self) -> tuple[list[Promotion], set[int]]:
        texts, done = self._ledger.read()
        bodies = [{key: value for key, value in json.loads(text).items() if key != "token"} for text in texts]
        return [Promotion(**body) for body in bodies], done

    def _claim(self, number: int, entry: Promotion) -> bool:
        body = {"token": uuid.uuid4().hex, **asdict(entry)}  # two equal entries of two processes are still two
        return self._ledger.claim(number, json.dumps(body, ensure_ascii=False))

    def _alias_now(self) -> int:
        with refused(self.store, f"{self.name}: no such registered model: register one first"):
            return int(self.store.get_registered_model(self.name).aliases.get(self.alias, 0))
