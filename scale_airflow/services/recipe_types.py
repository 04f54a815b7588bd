# SPDX-License-Identifier: Apache-2.0
"""Recipe types and their revisions, each with an immutable DAG (specification: Recipe Types Services)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from scale_airflow.compiler.dag_files import recipe_dag_file
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.recipe_definition import RecipeDefinition
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.errors import DocumentWarning, InvalidDocument
from scale_airflow.services import facts
from scale_airflow.services.interfaces import Interfaces
from scale_airflow.services.lookup import by_id, lock_name
from scale_airflow.services.publications import Publications
from scale_airflow.services.stored import Stored, outcome_of
from scale_airflow.services.trigger_rules import check_existing, store_rule, workspaces_by_name
from scale_airflow.store.models import JobType, RecipeType, RecipeTypeJobType, RecipeTypeRevision, utcnow

KIND = "recipe-type"


def create_recipe_type(
    session: Session, document: object, *, publish: bool = True
) -> tuple[RecipeType, list[DocumentWarning]]:
    """Make a recipe type from the document of ``POST /recipe-types/``: its revision 1 and the DAG of that.

    :param publish: False to leave the DAG unpublished.
    :raises InvalidDocument: with every fault; also if the name and version exist.
    """
    parsed = RecipeTypeDocument.parse(document)
    lock_name(session, KIND, parsed.name, parsed.version)
    if find_recipe_type(session, parsed.name, parsed.version) is not None:
        message = (
            f"There is a recipe type {quote(parsed.name)} with the version {quote(parsed.version)} already: "
            "edit it, or give another version."
        )
        faults = Faults()
        faults.add("/version", "recipe-type.exists", message)
        assert parsed.definition is not None
        interfaces = Interfaces(session, parsed.definition.job_types())
        _check(session, parsed, None, parsed.definition, interfaces, faults)
    publications = Publications()
    stored = put_recipe_type(session, parsed, None, publications)
    if publish:
        publications.carry_out(session)
    return stored.row, stored.warnings


def edit_recipe_type(
    session: Session, recipe_type_id: int, document: object, *, publish: bool = True
) -> tuple[RecipeType, list[DocumentWarning]]:
    """Change a recipe type; another definition makes a new revision with a DAG of its own.

    :raises NotFound: if there is no such recipe type.
    :raises InvalidDocument: with every fault.
    """
    recipe_type = by_id(session, RecipeType, recipe_type_id, "recipe type", lock=True)
    rule = recipe_type.trigger_rule
    parsed = RecipeTypeDocument.parse_changes(document, existing_rule=rule.type if rule else None)
    publications = Publications()
    stored = put_recipe_type(session, parsed, recipe_type, publications)
    if publish:
        publications.carry_out(session)
    return stored.row, stored.warnings


def validate_recipe_type(session: Session, document: object) -> list[DocumentWarning]:
    """Check the document of ``POST /recipe-types/validation/``; the name and version may exist already.

    Nothing is kept and nothing is published.

    :raises InvalidDocument: with every fault.
    """
    parsed = RecipeTypeDocument.parse(document)
    trial = session.begin_nested()
    try:
        existing = find_recipe_type(session, parsed.name, parsed.version)
        return put_recipe_type(session, parsed, existing, Publications()).warnings
    finally:
        trial.rollback()


def get_recipe_type(session: Session, recipe_type_id: int) -> RecipeType:
    """Return a recipe type.

    :raises NotFound: if there is none with this id.
    """
    return by_id(session, RecipeType, recipe_type_id, "recipe type")


def find_recipe_type(session: Session, name: str, version: str) -> RecipeType | None:
    """Return the recipe type with this name and version, if there is one."""
    return session.scalar(select(RecipeType).where(RecipeType.name == name, RecipeType.version == version))


def job_types_of(session: Session, recipe_type: RecipeType) -> Sequence[JobType]:
    """Return the job types that a recipe type's current definition runs, by name and version."""
    return session.scalars(
        select(JobType)
        .join(RecipeTypeJobType, RecipeTypeJobType.job_type_id == JobType.id)
        .where(RecipeTypeJobType.recipe_type_id == recipe_type.id)
        .order_by(JobType.name, JobType.version)
    ).all()


def put_recipe_type(
    session: Session,
    document: RecipeTypeDocument,
    existing: RecipeType | None,
    publications: Publications,
) -> Stored[RecipeType]:
    """Check a recipe type against everything it refers to, then make it, or change ``existing``.

    :param publications: where its DAGs are left for the caller to publish.
    :raises InvalidDocument: with every fault.
    """
    definition = document.definition
    if definition is None:
        assert existing is not None
        definition = RecipeDefinition.parse(existing.definition)
    interfaces = Interfaces(session, definition.job_types(), lock=document.definition is not None)
    warnings = _check(session, document, existing, definition, interfaces, Faults())
    wanted = {**document.values, "definition": dict(definition.document)}
    if "title" in wanted:
        wanted["title"] = wanted["title"] or (existing.name if existing else document.name)
    if existing is None:
        recipe_type = RecipeType(name=document.name, version=document.version, revision_num=1, **wanted)
        changed = wanted
        session.add(recipe_type)
    else:
        recipe_type = existing
        changed = {name: value for name, value in wanted.items() if getattr(recipe_type, name) != value}
        for name, value in changed.items():
            setattr(recipe_type, name, value)
        recipe_type.revision_num += "definition" in changed
    session.flush()
    if "definition" in changed:
        _add_revision(session, recipe_type, interfaces, publications)
    has_new_rule = store_rule(session, recipe_type, document.trigger_rule, publications)
    if has_new_rule:
        recipe_type.last_modified = utcnow()
    session.flush()
    outcome = outcome_of(is_new=existing is None, has_changed=bool(changed) or has_new_rule)
    return Stored(recipe_type, outcome, warnings)


def ensure_recipe_type(
    session: Session,
    *,
    name: str,
    version: str,
    title: str | None,
    definition: object,
    dag_id: str | None = None,
) -> RecipeTypeRevision:
    """Return the revision that a definition in a user's own DAG file stands for, making it where it is new.

    :param dag_id: the user's DAG, for the message if the definition is invalid.
    :raises InvalidDocument: with every fault of the definition.
    """
    lock_name(session, KIND, name, version)
    existing = find_recipe_type(session, name, version)
    if existing is not None:
        for revision in _revisions(session, existing):
            if revision.definition == definition:
                return revision
    document = {"name": name, "version": version, "definition": definition}
    if title is not None:
        document["title"] = title
    publications = Publications()
    try:
        parsed = RecipeTypeDocument.parse(document)
        if existing is not None and title is None:
            parsed = RecipeTypeDocument.parse_changes({"definition": definition})
        recipe_type = put_recipe_type(session, parsed, existing, publications).row
    except InvalidDocument as error:
        raise InvalidDocument(f"recipe of the DAG {dag_id}" if dag_id else error.kind, error.faults) from None
    publications.carry_out(session)
    return facts.current_recipe_revision(session, recipe_type)


def _revisions(session: Session, recipe_type: RecipeType) -> Sequence[RecipeTypeRevision]:
    """Return all revisions of a type, the latest first."""
    return session.scalars(
        select(RecipeTypeRevision)
        .where(RecipeTypeRevision.recipe_type_id == recipe_type.id)
        .order_by(RecipeTypeRevision.revision_num.desc())
    ).all()


def _check(
    session: Session,
    document: RecipeTypeDocument,
    existing: RecipeType | None,
    definition: RecipeDefinition,
    interfaces: Interfaces,
    faults: Faults,
) -> list[DocumentWarning]:
    """Check everything that the recipe type refers to; return warnings.

    :param faults: what is wrong already.
    :raises InvalidDocument: with that and every other fault.
    """
    warnings: list[DocumentWarning] = []
    workspaces = workspaces_by_name(session)
    try:
        warnings += document.check(job_types=interfaces, workspaces=workspaces, definition=definition)
    except InvalidDocument as error:
        faults.extend(error.faults)
    if document.definition is not None:
        _check_no_system_types(definition, interfaces, faults)
    if document.definition is not None or document.trigger_rule is not None:
        known = [interfaces[each] for each in definition.job_types() if each in interfaces]
        warnings += check_existing(
            existing.trigger_rule if existing else None,
            document.trigger_rule,
            definition.inputs,
            workspaces,
            has_outputs=any(interface.outputs for interface in known),
            place="/definition" if document.definition is not None else "/trigger_rule",
            faults=faults,
        )
    faults.refuse(KIND, document.document)
    return warnings


def _check_no_system_types(definition: RecipeDefinition, interfaces: Interfaces, faults: Faults) -> None:
    for index, job in enumerate(definition.jobs):
        job_type = interfaces.job_types.get(job.job_type)
        if job_type is not None and job_type.is_system:
            message = (
                f"The job type {quote(job_type.name)} is Scale's own: its jobs can't be part of a recipe."
            )
            faults.add(f"/definition/jobs/{index}/job_type", "recipe-type.system-job-type", message)


def _add_revision(
    session: Session, recipe_type: RecipeType, interfaces: Interfaces, publications: Publications
) -> None:
    """Record the definition as the current revision, with its DAG and the job types that it runs."""
    dag_file = recipe_dag_file(
        recipe_type.name,
        recipe_type.version,
        recipe_type.revision_num,
        recipe_type.title,
        recipe_type.definition,
    )
    session.add(
        RecipeTypeRevision(
            recipe_type_id=recipe_type.id,
            revision_num=recipe_type.revision_num,
            definition=recipe_type.definition,
            dag_id=dag_file.dag_id,
        )
    )
    session.execute(delete(RecipeTypeJobType).where(RecipeTypeJobType.recipe_type_id == recipe_type.id))
    session.add_all(
        RecipeTypeJobType(recipe_type_id=recipe_type.id, job_type_id=job_type.id)
        for job_type in interfaces.job_types.values()
    )
    session.flush()
    publications.add(dag_file)
