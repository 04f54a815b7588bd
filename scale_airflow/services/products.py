# SPDX-License-Identifier: Apache-2.0
"""Products: rows for files that are complete in their workspace, with identity, ancestry and publication."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.orm import Session

from scale_airflow.definitions.countries import countries_of
from scale_airflow.definitions.data_types import check_data_types
from scale_airflow.definitions.geometry import footprint
from scale_airflow.definitions.job_data import JobData
from scale_airflow.definitions.job_interface import JobInterface
from scale_airflow.definitions.job_results import JobResults
from scale_airflow.definitions.paths import relative_path
from scale_airflow.definitions.results_manifest import read_time
from scale_airflow.errors import Fault, InvalidDocument, WorkspaceError
from scale_airflow.execution.order import CompletionReport, ReportedFile, ReportedOutput, ReportedParse
from scale_airflow.services import facts, triggers
from scale_airflow.services.file_moves import plan_moves
from scale_airflow.services.lookup import lock_name
from scale_airflow.store.models import FileAncestry, Job, JobExecution, JobInputFile, ScaleFile, utcnow
from scale_airflow.workspaces.confined import split

_LONGEST_FOLDER = 1000


def store_products(
    session: Session, job: Job, execution: JobExecution, report: CompletionReport
) -> JobResults:
    """Make the rows of an execution's products, with uuid, geometry and ancestry.

    :raises InvalidDocument: with every fault, if the report is not what the job's interface promises, or
        names a path that is not the execution's own.
    """
    interface = facts.interface_of(job.job_type_rev)
    data = JobData.parse(job.data)
    _check_report(session, report, interface, data, execution)
    if not report.outputs:
        return JobResults(outputs={}, is_list={})
    inputs = _input_files(session, job) if data.file_ids() else []
    is_operational = job.job_type.is_operational and all(
        file.is_operational for file in inputs if file.kind == "PRODUCT"
    )
    made: dict[str, list[ScaleFile]] = {}
    for output in report.outputs:
        for reported in output.files:
            product = _product(reported, job, execution, inputs, data)
            product.is_operational = is_operational
            product.output_name = output.name
            made.setdefault(output.name, []).append(product)
    products = [product for group in made.values() for product in group]
    session.add_all(products)
    session.flush()
    _link(session, job, execution, inputs, products)
    return JobResults(
        outputs={name: tuple(product.id for product in group) for name, group in made.items()},
        is_list={output.name: output.is_list for output in report.outputs if output.name in made},
    )


def publish(session: Session, job: Job, execution: JobExecution) -> None:
    """Publish the products of a completed execution; the same work's earlier ones are superseded."""
    if not facts.interface_of(job.job_type_rev).outputs:
        return  # it makes no products, and never did
    # The same work may complete twice at this moment: the second sees what the first has published.
    lock_name(session, "work", str(job.job_type_id), job.input_signature or "")
    now = execution.ended or utcnow()
    session.execute(
        update(ScaleFile)
        .where(ScaleFile.job_exe_id == execution.id, ScaleFile.kind == "PRODUCT")
        .values(has_been_published=True, is_published=True, published=now, last_modified=utcnow())
    )
    same_work = select(Job.id).where(
        Job.job_type_id == job.job_type_id, Job.input_signature == job.input_signature
    )
    session.execute(
        update(ScaleFile)
        .where(
            ScaleFile.kind == "PRODUCT",
            ScaleFile.is_published,
            ScaleFile.job_exe_id != execution.id,
            or_(ScaleFile.job_id == job.id, ScaleFile.job_id.in_(same_work)),
        )
        .values(is_published=False, unpublished=now, last_modified=utcnow())
    )


def apply_parse_results(
    session: Session, job: Job, execution: JobExecution, results: Iterable[ReportedParse]
) -> None:
    """Record what the job found out about its source files, and evaluate the PARSE rules on each.

    Results for files that are not source inputs of the job are ignored; of several for one file the first
    counts and a warning is kept with the execution.
    """
    by_name: dict[str, ReportedParse] = {}
    for result in results:
        if by_name.setdefault(result.filename, result) is not result:
            text = f"parse_results name {result.filename!r} more than once: the first counts"
            execution.warnings = [*execution.warnings, text]
    sources = _lock_sources(session, job, by_name)
    if not sources:
        return
    rules = triggers.active_rules(session, "PARSE")
    moves = []
    for name, result in by_name.items():
        source = sources.get(name)
        if source is not None:
            _parse_source(source, result)
            session.flush()
            triggers.evaluate_parse(session, source_file=source, job_exe=execution, rules=rules)
            if result.new_workspace_path is not None:
                moves.append((source, result.new_workspace_path))
    # Last, since no other file gets a path in these workspaces until this is committed.
    stay = plan_moves(session, moves, execution.node_id)
    execution.warnings = [*execution.warnings, *(f"parse_results: {text}" for text in stay)]


def _lock_sources(session: Session, job: Job, names: Collection[str]) -> dict[str, ScaleFile]:
    """Return the job's source files of these names as they are now, locked in the order of their ids.

    Other jobs may find something out about the same files at this moment. Of two with one name the first
    counts.
    """
    if not names:
        return {}
    rows = session.scalars(
        select(ScaleFile)
        .where(
            ScaleFile.id.in_(select(JobInputFile.file_id).where(JobInputFile.job_id == job.id)),
            ScaleFile.kind == "SOURCE",
            ScaleFile.file_name.in_(list(names)),
        )
        .order_by(ScaleFile.id)
        .with_for_update(of=ScaleFile, key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    return {file.file_name: file for file in reversed(rows)}


def _parse_source(source: ScaleFile, result: ReportedParse) -> None:
    source.is_parsed, source.parsed = True, utcnow()
    source.data_started = read_time(result.data_started) or source.data_started
    source.data_ended = read_time(result.data_ended) or source.data_ended
    source.data_type = sorted({*source.data_type, *result.data_types})
    if result.geo_json is not None:
        found = footprint(result.geo_json)
        source.geometry, source.center_point = found.wkt, found.center_wkt
        source.countries = countries_of(found.wkt)
        source.meta_data = dict(found.properties)
    if result.meta_data is not None:
        source.meta_data = result.meta_data


def _product(
    reported: ReportedFile, job: Job, execution: JobExecution, inputs: list[ScaleFile], data: JobData
) -> ScaleFile:
    product = ScaleFile(
        kind="PRODUCT",
        workspace_id=reported.workspace_id,
        file_name=reported.file_name,
        file_path=reported.path,
        media_type=reported.media_type,
        file_size=reported.file_size,
        checksum=reported.checksum,
        uuid=product_uuid(job.job_type_id, reported.file_name, inputs, data),
        data_started=read_time(reported.data_started),
        data_ended=read_time(reported.data_ended),
        job_type_id=job.job_type_id,
        job_id=job.id,
        job_exe_id=execution.id,
        meta_data={},
        data_type=[],
        countries=[],
    )
    if reported.geo_json is not None:
        found = footprint(reported.geo_json)
        product.geometry, product.center_point = found.wkt, found.center_wkt
        product.countries = countries_of(found.wkt)
        product.meta_data = dict(found.properties)
    return product


def product_uuid(job_type_id: int, file_name: str, inputs: Iterable[ScaleFile], data: JobData) -> str:
    """Return the identity of a product, stable over re-runs of the same work.

    It is the md5, in hexadecimal, of the job type's id, the file's name, the uuids of the input files in
    ascending order and the property values in the order of their names, without anything in between.
    """
    parts = [str(job_type_id), file_name, *sorted(file.uuid for file in inputs)]
    parts += [
        given.value for given in sorted(data.inputs, key=lambda given: given.name) if given.value is not None
    ]
    return hashlib.md5("".join(parts).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _input_files(session: Session, job: Job) -> list[ScaleFile]:
    return list(
        session.scalars(
            select(ScaleFile)
            .where(ScaleFile.id.in_(select(JobInputFile.file_id).where(JobInputFile.job_id == job.id)))
            .order_by(ScaleFile.id)
        )
    )


def _link(
    session: Session, job: Job, execution: JobExecution, inputs: list[ScaleFile], products: list[ScaleFile]
) -> None:
    """Link each product to the job's inputs, and to all that these stem from."""
    if not inputs or not products:
        return
    earlier = session.scalars(
        select(FileAncestry).where(FileAncestry.descendant_id.in_([file.id for file in inputs]))
    ).all()
    steps: dict[tuple[int, int | None], int | None] = {(file.id, None): None for file in inputs}
    for link in earlier:
        made_by = link.ancestor_job_exe_id or link.job_exe_id
        steps[(link.ancestor_id, made_by)] = link.ancestor_job_id or link.job_id
    session.add_all(
        FileAncestry(
            ancestor_id=ancestor,
            descendant_id=product.id,
            job_exe_id=execution.id,
            job_id=job.id,
            recipe_id=job.recipe_id,
            ancestor_job_id=ancestor_job,
            ancestor_job_exe_id=ancestor_execution,
        )
        for product in products
        for (ancestor, ancestor_execution), ancestor_job in steps.items()
    )
    session.flush()


def _check_report(
    session: Session,
    report: CompletionReport,
    interface: JobInterface,
    data: JobData,
    execution: JobExecution,
) -> None:
    faults = _check_outputs(report.outputs, interface, data, execution)
    for index, result in enumerate(report.parse_results):
        place = f"/parse_results/{index}"
        faults += _check_geography(place, result)
        faults += [
            Fault(f"{place}/data_types{fault.path}", fault.message)
            for fault in check_data_types(result.data_types)
        ]
        if result.new_workspace_path is not None:
            faults += _check_folder(f"{place}/new_workspace_path", result.new_workspace_path)
    faults = faults or _check_free(session, report.outputs)
    if faults:
        raise InvalidDocument("results", faults)


def _check_free(session: Session, outputs: Iterable[ReportedOutput]) -> list[Fault]:
    """Find paths that another file has already: one that was ingested into the execution's own folder."""
    places = {
        (file.workspace_id, file.path): f"/outputs/{index}/files/{number}/path"
        for index, output in enumerate(outputs)
        for number, file in enumerate(output.files)
    }
    if not places:
        return []
    taken = session.execute(
        select(ScaleFile.workspace_id, ScaleFile.file_path).where(
            tuple_(ScaleFile.workspace_id, ScaleFile.file_path).in_(list(places))
        )
    )
    return [
        Fault(places[(row.workspace_id, row.file_path)], f"{row.file_path!r} is another file's path already")
        for row in taken
    ]


def _check_outputs(
    outputs: Iterable[ReportedOutput], interface: JobInterface, data: JobData, execution: JobExecution
) -> list[Fault]:
    faults: list[Fault] = []
    declared = {output.name: output for output in interface.outputs}
    seen: set[str] = set()
    paths: set[str] = set()
    for index, output in enumerate(outputs):
        place = f"/outputs/{index}"
        promised = declared.get(output.name)
        if promised is None or output.name in seen:
            what = "is reported twice" if output.name in seen else "is not an output of the job's interface"
            faults.append(Fault(f"{place}/name", f"{output.name!r} {what}"))
            continue
        seen.add(output.name)
        if output.is_list != (promised.type == "files"):
            faults.append(Fault(place, f"output {output.name!r} is of type {promised.type}"))
        if not output.is_list and len(output.files) != 1:
            faults.append(Fault(place, f"output {output.name!r} takes one file, not {len(output.files)}"))
        for number, file in enumerate(output.files):
            faults += _check_file(
                f"{place}/files/{number}", file, data.outputs[output.name], execution, paths
            )
    missing = [name for name, output in declared.items() if output.required and name not in seen]
    return [*faults, *(Fault("/outputs", f"the required output {name!r} is missing") for name in missing)]


def _check_file(
    place: str, file: ReportedFile, workspace_id: int, execution: JobExecution, paths: set[str]
) -> list[Fault]:
    faults = []
    if file.workspace_id != workspace_id:
        faults.append(
            Fault(
                f"{place}/workspace_id", f"{file.workspace_id} is not the output's workspace {workspace_id}"
            )
        )
    try:
        path = relative_path(file.path)
    except WorkspaceError as error:
        faults.append(Fault(f"{place}/path", str(error)))
    else:
        folder = PurePosixPath(execution.output_path or "")
        if not path.is_relative_to(folder) or path == folder:
            faults.append(
                Fault(f"{place}/path", f"{file.path!r} is not below the execution's own folder {folder}")
            )
        elif file.path in paths:
            faults.append(Fault(f"{place}/path", f"{file.path!r} is reported for two outputs"))
    paths.add(file.path)
    if not 0 <= file.file_size < 2**63:
        faults.append(Fault(f"{place}/file_size", f"{file.file_size} bytes is no size of a file"))
    return faults + _check_geography(place, file)


def _check_folder(place: str, path: str) -> list[Fault]:
    try:
        parts = split(path)
    except WorkspaceError as error:
        return [Fault(place, str(error))]
    if len("/".join(parts).encode()) > _LONGEST_FOLDER:
        return [Fault(place, f"has more than {_LONGEST_FOLDER} bytes")]
    return []


def _check_geography(place: str, found: ReportedFile | ReportedParse) -> list[Fault]:
    faults = []
    if found.geo_json is not None:
        try:
            footprint(found.geo_json)
        except InvalidDocument as error:
            faults += [Fault(f"{place}/geo_json{fault.path}", fault.message) for fault in error.faults]
    for name in ("data_started", "data_ended"):
        try:
            read_time(getattr(found, name))
        except ValueError:
            faults.append(Fault(f"{place}/{name}", "is not an ISO 8601 date and time"))
    return faults
