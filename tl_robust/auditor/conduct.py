"""The order of an audit: inputs, locks, then what they allow; and the record of it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from tl_robust.audit.record import Audit, AuditedData, AuditedModel, Lock, NotRun
from tl_robust.auditor.alarms import alarms
from tl_robust.auditor.evasion import Evasion
from tl_robust.auditor.locks.base import ask
from tl_robust.auditor.membership import membership
from tl_robust.auditor.origin import origin
from tl_robust.auditor.reading import Inputs, inputs, load
from tl_robust.auditor.request import Request
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.bench import runner
from tl_robust.bench.spec import Axes, Bench
from tl_robust.bench.workers import default_workers
from tl_robust.engines.base import Engine
from tl_robust.engines.local import Local
from tl_robust.engines.observer import Observer
from tl_robust.errors import BenchFailedError
from tl_robust.nodes.provenance import commit, device_name, versions
from tl_robust.nodes.store import Store
from tl_robust.registry import Scalar, load_plugins
from tl_robust.text import first_few


def conduct(request: Request, observer: Observer | None = None, engine: Engine | None = None) -> Audit:
    """Audit a model.

    What was computed lies in the store below the folder of results, so that an audit that was interrupted goes on
    where it stopped, and one with another option computes what is new.

    Args:
        request: What is asked for.
        observer: Hears of progress.
        engine: Who computes; this process where None.

    Raises:
        InputError: An input cannot be used.
        BenchFailedError: An attack failed.
    """
    observer, engine = observer or Observer(), engine or Local()
    for folder in request.plugins:
        load_plugins(folder)
    store = Store(request.results / "store")
    given, subject = load(inputs(request), store, engine, observer)
    evasion = Evasion.of(given)
    locks = tuple(_passed_over(lock, request.despite) for lock in ask(subject))
    if failed := [lock.name for lock in locks if lock.passed is False]:
        why = f"Nothing was attacked, since {first_few(failed, 3)} failed: repair that first."
        return _record(given, subject, evasion.eps, locks, not_run=(NotRun("", "all attacks", why),))
    bench = _bench(given)
    share = request.workers or default_workers(bench, len(evasion.plan.nodes)).count
    finished = runner.run(evasion.plan, bench, store, observer, engine, share)
    for failure in finished.failures:
        raise BenchFailedError(f"{failure.node} failed: {failure.cause}. What was finished is kept.")
    found, left_out = zip(alarms(subject), membership(subject), strict=True)
    return _record(
        given, subject, evasion.eps, locks,
        findings=(*evasion.findings(finished), *chain(*found)),
        price=evasion.price(finished),
        origin=origin(subject),
        not_run=(*evasion.not_run, *chain(*left_out)),
    )  # fmt: skip


def _record(given: Inputs, subject: Subject, eps: float, locks: tuple[Lock, ...], **found: Any) -> Audit:
    nothing: dict[str, Any] = {"findings": (), "price": None, "origin": None, "not_run": ()}
    return Audit(
        model=_model(subject.model, given),
        parent=_model(subject.parent, given) if subject.parent else None,
        others=tuple(_model(decoy, given) for decoy in subject.decoys),
        data=_data(given, subject),
        eps=eps,
        locks=locks,
        made=_made(subject),
        seed=subject.seed,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **nothing | found,
    )


def _passed_over(lock: Lock, despite: Collection[str]) -> Lock:
    """The lock; where it failed and is not to stop the audit, as one that decides nothing."""
    if lock.passed is not False or lock.name not in despite:
        return lock
    return Lock(lock.name, None, f"It failed, and was passed over by --despite. {lock.reason}")


def _model(model: ReadModel, given: Inputs) -> AuditedModel:
    names = [written.name for written in given.written]
    network = given.models[names.index(model.name)].network
    return AuditedModel(model.name, _network(network.name, dict(network.settings)), model.classes, model.files)


def _network(name: str, settings: dict[str, object]) -> str:
    """What readers call a network: its architecture where a setting says it."""
    return f"{name} {settings['arch']}" if "arch" in settings else name


def _data(given: Inputs, subject: Subject) -> AuditedData:
    return AuditedData(
        f"{given.images.name}, {given.images.split} split", len(subject.images), subject.images.fingerprint
    )


def _made(subject: Subject) -> dict[str, str]:
    known = {f"versions.{name}": str(version) for name, version in versions().items()}
    return known | {"device": device_name(subject.device), "commit": commit() or "unknown"}


def _bench(given: Inputs) -> Bench:
    """How nodes are computed."""
    nothing = Axes((), (), (), (), (), (), (), (given.request.seed,))
    request, checkpoints = given.request, {model.checkpoint.name: model.checkpoint for model in given.models}
    options: dict[str, Scalar] = {"accelerator": request.accelerator}
    plugins = tuple(folder.absolute() for folder in request.plugins)
    return Bench("audit", nothing, checkpoints=checkpoints, trainer=options, plugins=plugins)
