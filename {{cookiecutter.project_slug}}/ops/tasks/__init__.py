"""What you type: one module a namespace."""

from __future__ import annotations

from invoke.collection import Collection

from ops.pipeline import stages
from ops.project import ROOT
from ops.tasks import backup, build, data, db, deploy, deps, doctor, env, harness, models, stack


def namespace() -> Collection:
    """Return the template's tasks, for tasks.py to extend."""
    spaces = [deploy, build, models, data, db, backup, env, deps, stack, harness]
    if stages.there(ROOT):
        from ops.tasks import pipeline  # noqa: PLC0415 - most repositories have no stages

        spaces.append(pipeline)
    collection = Collection(doctor.doctor)
    for module in spaces:
        collection.add_collection(Collection.from_module(module))
    return collection
