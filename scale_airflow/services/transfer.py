# SPDX-License-Identifier: Apache-2.0
"""Export and import of errors, job types and recipe types (specification: Import/Export)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from scale_airflow.definitions.configuration_export import ConfigurationExport
from scale_airflow.definitions.error_document import ErrorDocument
from scale_airflow.definitions.faults import Faults, quote
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_type_document import DEFAULTS, JobTypeDocument
from scale_airflow.definitions.recipe_type_document import RecipeTypeDocument
from scale_airflow.errors import DocumentWarning, Fault, InvalidDocument, InvalidRequest
from scale_airflow.services.errors import find_error, put_error, refuse_system_error
from scale_airflow.services.interfaces import TypeName
from scale_airflow.services.job_types import (
    check_recipes_using,
    find_job_type,
    put_job_type,
    refuse_system_type,
)
from scale_airflow.services.lookup import lock_name
from scale_airflow.services.publications import Publications
from scale_airflow.services.recipe_types import find_recipe_type, put_recipe_type
from scale_airflow.services.stored import Outcome, Stored
from scale_airflow.services.trigger_rules import rule_document
from scale_airflow.store.models import ErrorModel, JobType, RecipeType, RecipeTypeJobType

KIND = "configuration"
Document = TypeVar("Document", ErrorDocument, JobTypeDocument, RecipeTypeDocument)
PARTS = ("recipe_types", "job_types", "errors")
"""What an export can include."""


@dataclass(frozen=True, slots=True)
class _Filter:
    include: Sequence[str]
    recipe_type_ids: Sequence[int]
    recipe_type_names: Sequence[str]
    job_type_ids: Sequence[int]
    job_type_names: Sequence[str]
    job_type_categories: Sequence[str]
    error_ids: Sequence[int]
    error_names: Sequence[str]

    @property
    def limits_recipe_types(self) -> bool:
        return bool(self.recipe_type_ids or self.recipe_type_names)

    @property
    def limits_job_types(self) -> bool:
        own = self.job_type_ids or self.job_type_names or self.job_type_categories
        return self.limits_recipe_types or bool(own)


def export_configuration(
    session: Session,
    *,
    include: Sequence[str] = (),
    recipe_type_ids: Sequence[int] = (),
    recipe_type_names: Sequence[str] = (),
    job_type_ids: Sequence[int] = (),
    job_type_names: Sequence[str] = (),
    job_type_categories: Sequence[str] = (),
    error_ids: Sequence[int] = (),
    error_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the configuration as a document that another Scale can import.

    System errors and system job types are left out: every Scale has them. What is empty does not filter.
    Filters cascade: with one on recipe types only the job types that these run are exported, and with one on
    either only the errors that the exported job types map to; further filters narrow that.

    :param include: which of :data:`PARTS` the document has; the others are empty.
    :raises InvalidRequest: if ``include`` names something that is no part of an export.
    """
    _check_parts(include)
    wanted = _Filter(
        include or PARTS,
        recipe_type_ids,
        recipe_type_names,
        job_type_ids,
        job_type_names,
        job_type_categories,
        error_ids,
        error_names,
    )
    recipe_types = _recipe_types(session, wanted)
    job_types = _job_types(session, wanted, recipe_types)
    errors = _errors(session, wanted, job_types)
    return {
        "version": "1.0",
        "recipe_types": [
            recipe_type_document(each) for each in recipe_types if "recipe_types" in wanted.include
        ],
        "job_types": [job_type_document(each) for each in job_types if "job_types" in wanted.include],
        "errors": [error_document(each) for each in errors if "errors" in wanted.include],
    }


def _check_parts(include: Sequence[str]) -> None:
    faults = [
        Fault("include", f"An export can include {', '.join(PARTS)}, but not {quote(part)}.")
        for part in include
        if part not in PARTS
    ]
    if faults:
        raise InvalidRequest(faults[0].message, faults)


def error_document(error: ErrorModel) -> dict[str, Any]:
    """Return an error as exports have it."""
    return {
        "name": error.name,
        "title": error.title,
        "description": error.description,
        "category": error.category,
    }


def job_type_document(job_type: JobType) -> dict[str, Any]:
    """Return a job type as exports have it."""
    document = {
        "name": job_type.name,
        "version": job_type.version,
        "is_system": job_type.is_system,
        # Whether a type is paused is the business of the installation, not of the configuration.
        **{name: getattr(job_type, name) for name in DEFAULTS if name != "is_paused"},
        "interface": job_type.interface,
        "error_mapping": job_type.error_mapping,
        "trigger_rule": rule_document(job_type.trigger_rule),
    }
    if job_type.configuration is not None:
        document["configuration"] = job_type.configuration
    return document


def recipe_type_document(recipe_type: RecipeType) -> dict[str, Any]:
    """Return a recipe type as exports have it."""
    return {
        "name": recipe_type.name,
        "version": recipe_type.version,
        "title": recipe_type.title,
        "description": recipe_type.description,
        "definition": recipe_type.definition,
        "trigger_rule": rule_document(recipe_type.trigger_rule),
    }


def _recipe_types(session: Session, wanted: _Filter) -> Sequence[RecipeType]:
    query = select(RecipeType).where(RecipeType.is_active).order_by(RecipeType.name, RecipeType.version)
    if wanted.recipe_type_ids:
        query = query.where(RecipeType.id.in_(wanted.recipe_type_ids))
    if wanted.recipe_type_names:
        query = query.where(RecipeType.name.in_(wanted.recipe_type_names))
    return session.scalars(query).all()


def _job_types(session: Session, wanted: _Filter, recipe_types: Sequence[RecipeType]) -> Sequence[JobType]:
    query = (
        select(JobType)
        .where(JobType.is_active, JobType.is_system.is_(False), JobType.category.is_distinct_from("system"))
        .order_by(JobType.name, JobType.version)
    )
    if wanted.limits_recipe_types:
        used = select(RecipeTypeJobType.job_type_id).where(
            RecipeTypeJobType.recipe_type_id.in_([each.id for each in recipe_types])
        )
        query = query.where(JobType.id.in_(used))
    if wanted.job_type_ids:
        query = query.where(JobType.id.in_(wanted.job_type_ids))
    if wanted.job_type_names:
        query = query.where(JobType.name.in_(wanted.job_type_names))
    if wanted.job_type_categories:
        query = query.where(JobType.category.in_(wanted.job_type_categories))
    return session.scalars(query).all()


def _errors(session: Session, wanted: _Filter, job_types: Sequence[JobType]) -> Sequence[ErrorModel]:
    query = select(ErrorModel).where(ErrorModel.category != "SYSTEM").order_by(ErrorModel.name)
    if wanted.limits_job_types:
        mapped = {name for each in job_types for name in each.error_mapping.get("exit_codes", {}).values()}
        query = query.where(ErrorModel.name.in_(mapped))
    if wanted.error_ids:
        query = query.where(ErrorModel.id.in_(wanted.error_ids))
    if wanted.error_names:
        query = query.where(ErrorModel.name.in_(wanted.error_names))
    return session.scalars(query).all()


@dataclass(slots=True)
class Imported:
    """What an import did: warnings; and for each entry the kind of thing, its name, what happened to it."""

    warnings: list[DocumentWarning] = field(default_factory=list)
    entries: list[tuple[str, str, Outcome]] = field(default_factory=list)


def import_configuration(
    session: Session, document: object, *, may_use_privileged: bool = True
) -> list[DocumentWarning]:
    """Make or change everything that an export document holds, all of it or nothing; return warnings.

    Importing the same again changes nothing. DAGs are published when all of the document is known to be
    valid, before the transaction is committed.

    :param may_use_privileged: see :func:`~scale_airflow.services.job_types.create_job_type`.
    :raises InvalidDocument: with every fault.
    :raises Forbidden: if a job type needs what the caller may not use.
    """
    publications = Publications()
    done = put_configuration(session, document, publications, may_use_privileged=may_use_privileged)
    publications.carry_out(session)
    return done.warnings


def put_configuration(
    session: Session, document: object, publications: Publications, *, may_use_privileged: bool = True
) -> Imported:
    """Do what :func:`import_configuration` does, but leave the DAGs for the caller to publish."""
    parsed = ConfigurationExport.parse(document)
    # One import at a time, and the rows that it changes in one order: so no two changes wait for each other.
    lock_name(session, KIND)
    _lock_rows(session, parsed)
    done = Imported()
    with session.begin_nested():
        _Import(session, publications, may_use_privileged, done).run(parsed)
    return done


def validate_import(
    session: Session, document: object, *, may_use_privileged: bool = True
) -> list[DocumentWarning]:
    """Check an export document as an import would; nothing is kept and nothing is published.

    :raises InvalidDocument: with every fault.
    :raises Forbidden: if a job type needs what the caller may not use.
    """
    trial = session.begin_nested()
    try:
        return put_configuration(
            session, document, Publications(), may_use_privileged=may_use_privileged
        ).warnings
    finally:
        trial.rollback()


class _Import:
    """One pass over an export document; an entry with faults does not keep the others from being checked."""

    def __init__(
        self, session: Session, publications: Publications, may_use_privileged: bool, done: Imported
    ):
        self.session = session
        self.publications = publications
        self.may_use_privileged = may_use_privileged
        self.done = done
        self.faults = Faults()
        # What depends on an entry with faults is not checked: its own faults would only follow from these.
        self.failed_errors: set[str] = set()
        self.failed_types: set[TypeName] = set()
        self.new_interfaces: dict[TypeName, JobInterface] = {}

    def run(self, parsed: ConfigurationExport) -> None:
        for index, error in enumerate(parsed.errors):
            if not self._entry(f"/errors/{index}", self._error, error):
                self.failed_errors.add(error.name)
        for index, job_type in enumerate(parsed.job_types):
            if not self._entry(f"/job_types/{index}", self._job_type, job_type):
                self.failed_types.add((job_type.name, job_type.version))
        self._check_recipes(parsed)
        for index, recipe_type in enumerate(parsed.recipe_types):
            self._entry(f"/recipe_types/{index}", self._recipe_type, recipe_type)
        self.faults.refuse(KIND, parsed.document)

    def _entry(self, place: str, store: Callable[[Document], bool], document: Document) -> bool:
        """Store one entry; return whether that worked."""
        try:
            return store(document)
        except InvalidDocument as error:
            self.faults.extend(error.faults, place)
        except InvalidRequest as error:
            self.faults.add(place, "configuration.system", error.detail)
        return False

    def _error(self, document: ErrorDocument) -> bool:
        existing = find_error(self.session, document.name)
        refuse_system_error(existing)
        stored = put_error(self.session, document if existing else document.complete(), existing)
        return self._note("error", stored, document.name)

    def _job_type(self, document: JobTypeDocument) -> bool:
        mapping = document.error_mapping
        if mapping is not None and self.failed_errors.intersection(mapping.names()):
            return False
        existing = find_job_type(self.session, document.name, document.version)
        refuse_system_type(existing)
        interface = document.interface
        is_new_interface = (
            existing is not None and interface is not None and interface.document != existing.interface
        )
        rule = existing.trigger_rule if existing else None
        document = (
            document.editing(existing_rule=rule.type if rule else None) if existing else document.complete()
        )
        stored = put_job_type(
            self.session,
            document,
            existing,
            self.publications,
            may_use_privileged=self.may_use_privileged,
            check_recipes=False,
        )
        if is_new_interface and interface is not None:
            self.new_interfaces[document.name, document.version] = interface
        return self._note("job type", stored, document.name, document.version)

    def _check_recipes(self, parsed: ConfigurationExport) -> None:
        """Check recipe types that the document does not bring itself, once all its job types are in place."""
        changed = {
            (each.name, each.version): (f"/job_types/{index}/interface", interface)
            for index, each in enumerate(parsed.job_types)
            if (interface := self.new_interfaces.get((each.name, each.version))) is not None
        }
        if changed:
            replaced = {(each.name, each.version) for each in parsed.recipe_types if each.definition}
            self.done.warnings += check_recipes_using(self.session, changed, self.faults, replaced=replaced)

    def _recipe_type(self, document: RecipeTypeDocument) -> bool:
        if document.definition is not None and self.failed_types & document.definition.job_types():
            return False
        existing = find_recipe_type(self.session, document.name, document.version)
        rule = existing.trigger_rule if existing else None
        document = (
            document.editing(existing_rule=rule.type if rule else None) if existing else document.complete()
        )
        stored = put_recipe_type(self.session, document, existing, self.publications)
        return self._note("recipe type", stored, document.name, document.version)

    def _note(self, what: str, stored: Stored[Any], *name: str) -> bool:
        self.done.entries.append((what, " ".join(name), stored.outcome))
        self.done.warnings += stored.warnings
        return True


def _lock_rows(session: Session, parsed: ConfigurationExport) -> None:
    """Hold what the import may change, in the order in which edits of single types do."""
    wanted: list[tuple[Any, list[TypeName]]] = [
        (RecipeType, [(each.name, each.version) for each in parsed.recipe_types]),
        (JobType, [(each.name, each.version) for each in parsed.job_types]),
    ]
    for model, names in wanted:
        if names:
            session.execute(
                select(model.id)
                .where(tuple_(model.name, model.version).in_(names))
                .order_by(model.id)
                .with_for_update(key_share=True)
            )
