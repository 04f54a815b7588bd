# SPDX-License-Identifier: Apache-2.0
"""The operator asks, obeys, and ends its task as the API server decides."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from unit.execution.fake_runtime import FakeRuntime, fake_runtime, make_order

from scale_airflow.errors import ScaleApiError
from scale_airflow.execution.order import ClaimAnswer, ClaimRequest, ReportAnswer
from scale_airflow.execution.runner import ExecutionStopped
from scale_airflow.operators.scale_job import ScaleJobOperator
from scale_airflow.triggers.capacity import CapacityTrigger


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    with fake_runtime() as server:
        connection = {"conn_type": "scale", "host": server.url, "password": "the-secret"}
        monkeypatch.setenv("AIRFLOW_CONN_SCALE_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__SCALE__WORK_DIR", str(tmp_path / "work"))
        monkeypatch.setenv("AIRFLOW__SCALE__ALLOWED_ROOTS", str(tmp_path))
        monkeypatch.setenv("AIRFLOW__SCALE__ALLOW_PROCESS_JOBS", "True")
        yield server


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> ScaleJobOperator:
    monkeypatch.setattr(ScaleJobOperator, "test_mode", True, raising=False)
    return ScaleJobOperator(task_id="t", definition={"name": "n"})


def context() -> Any:
    return {
        "ti": SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=None, try_number=2, id=uuid.UUID(int=5)
        )
    }


def claims(runtime: FakeRuntime, *answers: ClaimAnswer) -> None:
    left = list(answers)
    runtime.script["/runtime/claim/"] = lambda body: (200, left.pop(0).to_dict())


def run(operator: ScaleJobOperator) -> None:
    assert operator.execute(context()) is None


def test_it_is_a_docker_operator_that_renders_nothing() -> None:
    assert issubclass(ScaleJobOperator, DockerOperator)
    assert ScaleJobOperator.template_fields == ()
    assert ScaleJobOperator.template_ext == ()


def test_it_survives_serialization() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("d") as dag:
        ScaleJobOperator(task_id="a", retries=99, pool="p") >> ScaleJobOperator(
            task_id="b", definition={"x": "{{ y }}"}
        )
    document = DagSerialization.to_dict(dag)
    assert "y }}" not in json.dumps(document)
    restored = DagSerialization.from_dict(document)
    assert restored.task_dict["a"].downstream_task_ids == {"b"}
    assert restored.task_dict["a"].retries == 99


def test_go_runs_the_job(operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path) -> None:
    claims(runtime, ClaimAnswer("go", make_order(tmp_path, "/bin/echo", "hello")))
    run(operator)
    assert runtime.output("stdout") == b"hello\n"
    (claim,) = runtime.bodies("/claim/")
    request = ClaimRequest.from_dict(claim)
    assert (request.dag_id, request.map_index, request.try_number) == ("d", -1, 2)
    assert request.task_instance_id == str(uuid.UUID(int=5))
    assert request.definition == {"name": "n"}
    path = tmp_path / "work" / "agent_id"
    assert request.agent_id == path.read_text().strip()
    assert runtime.requests[0][3] == "Bearer the-secret"


def test_wait_defers_and_claims_again(
    operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path
) -> None:
    claims(
        runtime,
        ClaimAnswer("wait", reason="all nodes are full"),
        ClaimAnswer("go", make_order(tmp_path, "/bin/true")),
    )
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, CapacityTrigger)
    assert trigger.request == runtime.bodies("/claim/")[0]
    assert deferred.value.method_name == "execute_resumed"
    operator.execute_resumed(context(), {"ready": True, "reason": None})
    assert len(runtime.bodies("/complete/")) == 1


@pytest.mark.parametrize(
    ("decision", "error"),
    [("done", None), ("retry", AirflowException), ("failed", AirflowFailException)],
)
def test_the_decision_on_a_failure(
    operator: ScaleJobOperator,
    runtime: FakeRuntime,
    tmp_path: Path,
    decision: Any,
    error: type[Exception] | None,
) -> None:
    claims(runtime, ClaimAnswer("go", make_order(tmp_path, "/bin/false")))
    runtime.script["/fail"] = (200, ReportAnswer(decision, "because").to_dict())
    if error is None:
        run(operator)
        return
    with pytest.raises(error, match="because") as caught:
        run(operator)
    assert type(caught.value) is error


@pytest.mark.parametrize("outcome", ["completed", "failed", "canceled"])
def test_what_is_over_ends_as_it_ended(
    operator: ScaleJobOperator, runtime: FakeRuntime, outcome: Any
) -> None:
    claims(runtime, ClaimAnswer("over", outcome=outcome, reason="of that"))
    if outcome == "completed":
        run(operator)
    else:
        with pytest.raises(AirflowFailException, match=f"{outcome}: of that"):
            run(operator)


@pytest.mark.parametrize("outcome", ["completed", "canceled"])
def test_an_ignored_report_asks_what_became_of_the_job(
    operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path, outcome: Any
) -> None:
    claims(
        runtime, ClaimAnswer("go", make_order(tmp_path, "/bin/true")), ClaimAnswer("over", outcome=outcome)
    )
    runtime.script["/complete"] = (200, ReportAnswer("ignored", "too late").to_dict())
    if outcome == "completed":
        run(operator)
    else:
        with pytest.raises(AirflowFailException, match="canceled"):
            run(operator)


def test_cancel_while_running(operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path) -> None:
    claims(
        runtime,
        ClaimAnswer("go", make_order(tmp_path, "/bin/sleep", "600")),
        ClaimAnswer("over", outcome="canceled", reason="somebody canceled it"),
    )
    runtime.script["/beat"] = (200, {"continue": False, "reason": "canceled"})
    with pytest.raises(AirflowFailException, match="somebody canceled it"):
        run(operator)


def test_a_cancel_that_airflow_knows_of_already_says_that_it_was_one(
    operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path
) -> None:
    order = make_order(tmp_path, "/bin/sleep", "600")
    answers = [(200, ClaimAnswer("go", order).to_dict()), (403, {"detail": "Airflow does not run this."})]
    runtime.script["/runtime/claim/"] = lambda body: answers.pop(0)
    runtime.script["/beat"] = (200, {"continue": False, "reason": "The job was canceled."})
    with pytest.raises(ExecutionStopped, match=r"^The execution was stopped: The job was canceled\.$"):
        run(operator)
    assert answers == []


def test_on_kill_kills_the_job_and_the_task_may_be_tried_again(
    operator: ScaleJobOperator, runtime: FakeRuntime, tmp_path: Path
) -> None:
    claims(runtime, ClaimAnswer("go", make_order(tmp_path, "/bin/sleep", "600")))

    def killer() -> None:
        runtime.wait_for(lambda: any(beat["times"]["job_started"] for beat in runtime.bodies("/beat/")))
        operator.on_kill()

    thread = threading.Thread(target=killer)
    thread.start()
    with pytest.raises(ExecutionStopped, match="killed"):
        run(operator)
    thread.join()
    assert runtime.bodies("/fail/") == []


def test_a_wrong_secret_says_what_to_do(operator: ScaleJobOperator, runtime: FakeRuntime) -> None:
    runtime.script["/runtime/claim/"] = (401, {"detail": "Wrong secret."})
    with pytest.raises(ScaleApiError, match=r"Wrong secret\..*rotate-secret"):
        run(operator)


def test_a_refused_claim_is_final_and_a_server_that_is_away_is_not(
    operator: ScaleJobOperator, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime.script["/runtime/claim/"] = (400, {"detail": "No such thing."})
    with pytest.raises(AirflowFailException, match="No such thing"):
        run(operator)
    runtime.script["/runtime/claim/"] = (403, {"detail": "Not this try."})
    with pytest.raises(ScaleApiError, match="Not this try"):
        run(operator)
    answers: list[Any] = [(500, {})] * 2
    answers.append((200, ClaimAnswer("go", make_order(tmp_path, "/bin/true")).to_dict()))
    runtime.script["/runtime/claim/"] = lambda body: answers.pop(0)
    run(operator)
    monkeypatch.setattr("scale_airflow.operators.scale_job._PATIENCE", 0.0)
    runtime.script["/runtime/claim/"] = (500, {"detail": "broken"})
    with pytest.raises(ScaleApiError, match="broken"):
        run(operator)
