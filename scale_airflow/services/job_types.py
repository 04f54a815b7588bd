# SPDX-License-Identifier: Apache-2.0
"""Job types and their revisions, each of which has an immutable DAG (specification: Job Type Services)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.compiler import names
from scale_airflow.compiler.dag_files import job_dag_file
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_document import JobTypeDocument
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.engine.pools import UNLIMITED, set_pool
from scale_airflow.errors import DocumentWarning, Fault, Forbidden, InvalidDocument, InvalidRequest
from scale_airflow.services.errors import error_names
from scale_airflow.services.interfaces import Interfaces, TypeName
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.services.publications import Publications
from scale_airflow.services.stored import Stored, outcome_of
from scale_airflow.services.trigger_rules import check_existing, store_rule, workspaces_by_name
from scale_airflow.store.models import (
    ErrorModel,
    JobType,
    JobTypeRevision,
    RecipeType,
    RecipeTypeJobType,
    utcnow,
)

KIND = "job-type"
#: What decides how a job's process is started, and so what it may do to its host.
_SENSITIVE = ("interface", "docker_image", "docker_privileged", "uses_docker", "configuration")


def create_job_type(
    session: Session, document: object, *, publish: bool = True, may_use_privileged: bool = True
) -> tuple[JobType, list[DocumentWarning]]:
    """Make a job type from the document of ``POST /job-types/``: its revision 1, the DAG of that, its pool.

    :param publish: False to leave the DAG unpublished.
    :param may_use_privileged: whether the caller may have jobs run in privileged containers, or as plain
        processes of the worker.
    :raises InvalidDocument: with every fault; also if the name and version exist.
    :raises Forbidden: if the document asks for what the caller may not use.
    """
    parsed = JobTypeDocument.parse(document)
    lock_name(session, KIND, parsed.name, parsed.version)
    faults = Faults()
    if find_job_type(session, parsed.name, parsed.version) is not None:
        message = (
            f"There is a job type {quote(parsed.name)} with the version {quote(parsed.version)} already: "
            "edit it, or give another version."
        )
        faults.add("/version", "job-type.exists", message)
        _check(session, parsed, None, False, faults)
    publications = Publications()
    stored = put_job_type(session, parsed, None, publications, may_use_privileged=may_use_privileged)
    if publish:
        publications.carry_out(session)
    return stored.row, stored.warnings


def edit_job_type(
    session: Session,
    job_type_id: int,
    document: object,
    *,
    publish: bool = True,
    may_use_privileged: bool = True,
) -> tuple[JobType, list[DocumentWarning]]:
    """Change a job type; another interface makes a new revision, and recipe types that use it are checked.

    Fields that no job type has, and its name and version, are ignored: real clients send them.

    :raises NotFound: if there is no such job type.
    :raises InvalidDocument: with every fault.
    :raises InvalidRequest: if it is one of the system's own.
    :raises Forbidden: if the document asks for what the caller may not use.
    """
    job_type = by_id(session, JobType, job_type_id, "job type", lock=True)
    refuse_system_type(job_type)
    rule = job_type.trigger_rule
    parsed = JobTypeDocument.parse_changes(document, existing_rule=rule.type if rule else None)
    publications = Publications()
    stored = put_job_type(session, parsed, job_type, publications, may_use_privileged=may_use_privileged)
    if publish:
        publications.carry_out(session)
    return stored.row, stored.warnings


def validate_job_type(
    session: Session, document: object, *, may_use_privileged: bool = True
) -> list[DocumentWarning]:
    """Check the document of ``POST /job-types/validation/``; the name and version may exist already.

    Nothing is kept and nothing is published.

    :raises InvalidDocument: with every fault.
    :raises InvalidRequest: if it is one of the system's own.
    :raises Forbidden: if the document asks for what the caller may not use.
    """
    parsed = JobTypeDocument.parse(document)
    existing = find_job_type(session, parsed.name, parsed.version)
    refuse_system_type(existing)
    trial = session.begin_nested()
    try:
        publications = Publications()
        stored = put_job_type(session, parsed, existing, publications, may_use_privileged=may_use_privileged)
        return stored.warnings
    finally:
        trial.rollback()


def get_job_type(session: Session, job_type_id: int) -> JobType:
    """Return a job type.

    :raises NotFound: if there is none with this id.
    """
    return by_id(session, JobType, job_type_id, "job type")


def find_job_type(session: Session, name: str, version: str) -> JobType | None:
    """Return the job type with this name and version, if there is one."""
    return session.scalar(select(JobType).where(JobType.name == name, JobType.version == version))


def refuse_system_type(job_type: JobType | None) -> None:
    """Refuse a change of one of the system's own job types.

    :raises InvalidRequest: if it is one.
    """
    if job_type is not None and job_type.is_system:
        raise InvalidRequest(f"The job type {job_type.name} belongs to the system and can't be edited.")


def errors_of(session: Session, job_type: JobType) -> Sequence[ErrorModel]:
    """Return the errors that a job type's mapping refers to, by name."""
    wanted = set(job_type.error_mapping.get("exit_codes", {}).values())
    if not wanted:
        return []
    query = select(ErrorModel).where(ErrorModel.name.in_(wanted)).order_by(ErrorModel.name)
    return session.scalars(query).all()


def put_job_type(
    session: Session,
    document: JobTypeDocument,
    existing: JobType | None,
    publications: Publications,
    *,
    may_use_privileged: bool = True,
    check_recipes: bool = True,
) -> Stored[JobType]:
    """Check a job type against everything it refers to, then make it, or change ``existing``.

    :param publications: where its DAGs are left for the caller to publish.
    :param check_recipes: False where the caller checks the recipe types that use it, see
        :func:`check_recipes_using`.
    :raises InvalidDocument: with every fault.
    :raises Forbidden: if the document asks for what the caller may not use.
    """
    warnings = _check(session, document, existing, check_recipes, Faults())
    wanted = _columns(document)
    if existing is None:
        job_type = JobType(name=document.name, version=document.version, revision_num=1, **wanted)
        changed = wanted
        session.add(job_type)
    else:
        job_type = existing
        changed = {name: value for name, value in wanted.items() if getattr(job_type, name) != value}
        for name, value in changed.items():
            setattr(job_type, name, value)
        job_type.revision_num += "interface" in changed
    if not may_use_privileged:
        _refuse_privileged(job_type, changed)
    if "is_paused" in changed:
        job_type.paused = utcnow() if job_type.is_paused else None
    session.flush()
    if "interface" in changed:
        _add_revision(session, job_type, publications)
    _set_pool(session, job_type)
    has_new_rule = store_rule(session, job_type, document.trigger_rule, publications)
    if has_new_rule:
        job_type.last_modified = utcnow()
    session.flush()
    outcome = outcome_of(is_new=existing is None, has_changed=bool(changed) or has_new_rule)
    return Stored(job_type, outcome, warnings)


def _columns(document: JobTypeDocument) -> dict[str, Any]:
    """Return what the document says of the table's columns, the trigger rule apart."""
    columns = dict(document.values)
    for name in ("interface", "error_mapping", "configuration"):
        parsed = getattr(document, name)
        if parsed is not None:
            columns[name] = dict(parsed.document)
    if columns.get("configuration") == {}:
        columns["configuration"] = None
    return columns


def _refuse_privileged(job_type: JobType, changed: Mapping[str, Any]) -> None:
    """Refuse what decides how a job starts where it starts with rights that the caller may not hand out."""
    if not any(name in changed for name in _SENSITIVE):
        return
    what = "in privileged containers" if job_type.docker_privileged else "as plain processes of the worker"
    if job_type.docker_privileged or not job_type.uses_docker:
        raise Forbidden(f"You may not have jobs run {what}, or change a job type whose jobs do.")


def _check(
    session: Session,
    document: JobTypeDocument,
    existing: JobType | None,
    check_recipes: bool,
    faults: Faults,
) -> list[DocumentWarning]:
    """Check everything that the job type refers to and that refers to it; return warnings.

    :param faults: what is wrong already.
    :raises InvalidDocument: with that and every other fault.
    """
    warnings: list[DocumentWarning] = []
    interface = document.interface
    if interface is None:
        assert existing is not None
        interface = JobInterface.parse(existing.interface)
    has_new_interface = existing is None or interface.document != existing.interface
    workspaces = workspaces_by_name(session)
    try:
        warnings += document.check(errors=error_names(session), workspaces=workspaces, interface=interface)
    except InvalidDocument as error:
        faults.extend(error.faults)
    if has_new_interface or document.trigger_rule is not None:
        warnings += check_existing(
            existing.trigger_rule if existing else None,
            document.trigger_rule,
            interface.inputs,
            workspaces,
            has_outputs=bool(interface.outputs),
            place="/interface" if has_new_interface else "/trigger_rule",
            faults=faults,
        )
    if existing is not None and has_new_interface and check_recipes:
        changed = {(existing.name, existing.version): ("/interface", interface)}
        warnings += check_recipes_using(session, changed, faults)
    faults.refuse(KIND, document.document)
    return warnings


def check_recipes_using(
    session: Session,
    changed: Mapping[TypeName, tuple[str, JobInterface]],
    faults: Faults,
    *,
    replaced: Collection[TypeName] = (),
) -> list[DocumentWarning]:
    """Check all recipe types that use job types of which the interface changes; return warnings.

    :param changed: by name and version of the job type: the pointer that faults belong to, and the new
        interface.
    :param replaced: recipe types that need no check, because their definition is about to change.
    """
    using_ids = (
        select(RecipeTypeJobType.recipe_type_id)
        .join(JobType, JobType.id == RecipeTypeJobType.job_type_id)
        .where(tuple_(JobType.name, JobType.version).in_(sorted(changed)))
    )
    query = (
        select(RecipeType)
        .where(RecipeType.id.in_(using_ids), RecipeType.is_active)
        .order_by(RecipeType.name, RecipeType.version)
    )
    using = [each for each in session.scalars(query) if (each.name, each.version) not in replaced]
    definitions = [RecipeDefinition.parse(each.definition) for each in using]
    interfaces = Interfaces(session, set().union(*(each.job_types() for each in definitions)))
    for name, (_, interface) in changed.items():
        interfaces.replace(name, interface)
    warnings: list[DocumentWarning] = []
    for recipe_type, definition in zip(using, definitions, strict=True):
        label = f"{quote(recipe_type.name)} {quote(recipe_type.version)}"
        try:
            warnings += definition.check(interfaces)
        except InvalidDocument as error:
            for fault in error.faults:
                place = changed[_culprit(fault, definition, changed)][0]
                message = f"The recipe type {label} would break at {fault.path or '/'}: {fault.message}"
                faults.add(place, fault.rule, message)
    return warnings


def _culprit(fault: Fault, definition: RecipeDefinition, changed: Collection[TypeName]) -> TypeName:
    """Return which of the changed job types a fault of a recipe's definition most likely comes from."""
    _, *parts = fault.path.split("/")
    if len(parts) > 1 and parts[0] == "jobs":
        name = definition.jobs[int(parts[1])].job_type
        if name in changed:
            return name
    return next(name for name in sorted(definition.job_types()) if name in changed)


def _add_revision(session: Session, job_type: JobType, publications: Publications) -> None:
    """Record the interface as the current revision, with its DAG."""
    dag_file = job_dag_file(
        job_type.name, job_type.version, job_type.revision_num, job_type.title, job_type.interface
    )
    session.add(
        JobTypeRevision(
            job_type_id=job_type.id,
            revision_num=job_type.revision_num,
            interface=job_type.interface,
            dag_id=dag_file.dag_id,
        )
    )
    publications.add(dag_file)


def _set_pool(session: Session, job_type: JobType) -> None:
    """Let as many tasks of the type run as it allows: none while it is paused."""
    slots = UNLIMITED if job_type.max_scheduled is None else job_type.max_scheduled
    set_pool(
        session,
        names.pool_name(job_type.name, job_type.version),
        0 if job_type.is_paused else slots,
        f"Jobs of Scale's job type {job_type.name} {job_type.version}",
    )
