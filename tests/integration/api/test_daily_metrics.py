# SPDX-License-Identifier: Apache-2.0
"""The jobs that work out the metrics of each day: queued by a clock rule, done by its DAG's second task."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import select, update
from world import World

from scale_airflow.compiler import names
from scale_airflow.engine import runs
from scale_airflow.engine.connections import stored_connection
from scale_airflow.engine.publishing import hidden_dags
from scale_airflow.hooks.scale import ScaleHook
from scale_airflow.operators.scale_metrics import ScaleMetricsOperator
from scale_airflow.services import daily_metrics, system_clock
from scale_airflow.services.metrics import compute_day
from scale_airflow.store.models import DagFileRow, Job, JobExecution, JobType, JobTypeRevision, TriggerEvent

API = "/scale/api"
TODAY = date(2024, 3, 4)
DAYS = [(TODAY - timedelta(days=number)).isoformat() for number in (3, 2, 1)]


@dataclass
class Clockwork:
    """The clock rule of daily metrics, with a run of its DAG whose second task runs in the test."""

    world: World
    client: httpx.Client
    headers: dict[str, str]
    rule_id: int
    tries: int = 0
    asked: list[Any] = field(default_factory=list)

    @property
    def dag_id(self) -> str:
        return names.clock_dag_id(self.rule_id, daily_metrics.NAME)

    def post(self, path: str, body: Any) -> httpx.Response:
        answer = self.client.post(f"{API}/runtime/clock/{path}", json=body, headers=self.headers)
        self.world.session.rollback()
        self.world.session.expire_all()
        return answer

    def fire(self, day: date = TODAY) -> str:
        scheduled = datetime.combine(day, time(), timezone.utc).isoformat()
        answer = self.post(f"{self.rule_id}/fire/", {"scheduled": scheduled})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["message"])

    def run(self, name: str) -> None:
        runs.create_run(self.world.session, dag_id=self.dag_id, run_id=name, conf={}, priority=1)
        self.world.session.commit()

    def next_try(self, run_id: str = "one") -> SimpleNamespace:
        """Let Airflow start the next try of the second task."""
        task_instance_id, self.tries = uuid.uuid4(), self.tries + 1
        of_task = (TaskInstance.run_id == run_id, TaskInstance.task_id == names.COMPUTE_TASK_ID)
        self.world.session.execute(
            update(TaskInstance)
            .where(TaskInstance.dag_id == self.dag_id, *of_task)
            .values(id=task_instance_id, state="running", try_number=self.tries)
        )
        self.world.session.commit()
        return SimpleNamespace(
            dag_id=self.dag_id,
            run_id=run_id,
            task_id=names.COMPUTE_TASK_ID,
            map_index=-1,
            try_number=self.tries,
            id=task_instance_id,
            hostname="worker-1",
        )

    def identity(self, task: SimpleNamespace) -> dict[str, Any]:
        return {
            **{key: value for key, value in vars(task).items() if key != "id"},
            "task_instance_id": str(task.id),
        }

    def execute(self, task: SimpleNamespace | None = None) -> None:
        """Run the operator as a worker does."""
        operator = ScaleMetricsOperator(task_id=names.COMPUTE_TASK_ID, trigger_rule_id=self.rule_id)
        operator.execute({"ti": task or self.next_try()})  # type: ignore[typeddict-item]

    def request(self, method: str, path: str, *, body: Any, repeatable: bool) -> Any:
        """What the operator's client does, without a network."""
        assert (method, repeatable) == ("POST", True)
        answer = self.post(path.removeprefix("/runtime/clock/"), body)
        assert answer.status_code == 200, answer.text
        self.asked.append(answer.json())
        return answer.json()

    def jobs(self) -> dict[str | None, tuple[str, int]]:
        """Status and number of executions of each day's job."""
        query = select(Job).join(JobType).where(JobType.name == daily_metrics.NAME)
        return {
            job.input_signature: (job.status, job.num_exes)
            for job in self.world.session.scalars(query.order_by(Job.input_signature))
        }

    def executions(self, day: str) -> list[tuple[str, str | None]]:
        """Status and error of each execution of a day's job."""
        query = (
            select(JobExecution).join(Job).where(Job.input_signature == day).order_by(JobExecution.exe_num)
        )
        rows = self.world.session.scalars(query)
        return [(row.status, row.error.name if row.error else None) for row in rows]


@pytest.fixture
def clockwork(world: World, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    """Three days ago a job ended; since then nothing was worked out."""
    session = world.session
    rule = system_clock.own_rule(session, daily_metrics.NAME)
    connection = stored_connection(session, "scale_default")
    assert rule is not None
    assert connection is not None
    made = Clockwork(world, client, {"Authorization": f"Bearer {connection.secret}"}, rule.id)
    rule.created = datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert system_clock.publish_rules(session)
    session.commit()
    made.run("one")
    job_type = world.job_type("one")
    revision = session.scalars(
        select(JobTypeRevision).where(JobTypeRevision.job_type_id == job_type.id)
    ).one()
    event = TriggerEvent(type="USER", description={})
    session.add(event)
    session.flush()
    of_type = {"job_type_id": job_type.id, "job_type_rev_id": revision.id, "event_id": event.id}
    wishes = {"priority": 1, "timeout": 0, "max_tries": 1, "cpus_required": 1.0, "mem_required": 1.0}
    ended = datetime.fromisoformat(f"{DAYS[0]}T12:00:00+00:00")
    session.add(Job(**of_type, **wishes, status="FAILED", ended=ended, dag_id="d", run_id="r", task_id="t"))
    session.commit()
    monkeypatch.setattr(ScaleHook, "client", made)
    return made


@pytest.fixture
def broken_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The second day can't be worked out until this is called."""
    broken = {DAYS[1]}

    def compute(session: Any, day: date) -> Any:
        if day.isoformat() in broken:
            raise RuntimeError("It can't be worked out.")
        return compute_day(session, day)

    monkeypatch.setattr(daily_metrics, "compute_day", compute)
    return broken.clear


def test_every_missing_day_is_worked_out_once(
    clockwork: Clockwork, client: httpx.Client, viewer: dict[str, str]
) -> None:
    assert clockwork.fire() == (
        "Clock rule scale-daily-metrics fired for 2024-03-04T00:00:00Z: the metrics of "
        f"{', '.join(DAYS)} are queued."
    )
    assert clockwork.jobs() == dict.fromkeys(DAYS, ("QUEUED", 1))
    assert "has fired" in clockwork.fire()
    shown = client.get(f"{API}/jobs/?job_type_name=scale-daily-metrics&order=id", headers=viewer).json()
    assert [(each["status"], each["event"]["type"]) for each in shown["results"]] == [
        ("QUEUED", "DAILY_METRICS")
    ] * 3
    path = f"{API}/jobs/{shown['results'][0]['id']}/"
    inputs = client.get(path, headers=viewer).json()["inputs"]
    assert inputs == [{"name": "Day", "type": "property", "value": DAYS[0]}]
    clockwork.execute()
    assert clockwork.jobs() == dict.fromkeys(DAYS, ("COMPLETED", 1))
    plotted = client.get(f"{API}/metrics/job-types/plot-data/?column=failed_count", headers=viewer).json()
    assert [(each["date"], each["value"]) for each in plotted["results"][0]["values"]] == list(
        zip(DAYS, (1, 0, 0), strict=True)
    )
    assert clockwork.fire(TODAY + timedelta(days=1)).endswith(f"the metrics of {TODAY} are queued.")
    clockwork.execute()
    clockwork.execute()
    assert clockwork.jobs() == dict.fromkeys((*DAYS, str(TODAY)), ("COMPLETED", 1))


def test_a_day_that_fails_is_tried_again_and_holds_up_no_other(
    clockwork: Clockwork, broken_day: Callable[[], None]
) -> None:
    clockwork.fire()
    for tries in (2, 3):
        with pytest.raises(AirflowException, match="once more"):
            clockwork.execute()
        assert clockwork.jobs() == {
            DAYS[0]: ("COMPLETED", 1),
            DAYS[1]: ("QUEUED", tries),
            DAYS[2]: ("COMPLETED", 1),
        }
    with pytest.raises(AirflowFailException, match=DAYS[1]):
        clockwork.execute()
    assert clockwork.jobs()[DAYS[1]] == ("FAILED", 3)
    assert clockwork.executions(DAYS[1]) == [("FAILED", "unknown")] * 3
    # The next day's run tries it once more.
    clockwork.fire(TODAY + timedelta(days=1))
    assert clockwork.jobs()[DAYS[1]] == ("QUEUED", 4)
    broken_day()
    clockwork.execute()
    assert set(clockwork.jobs().values()) == {("COMPLETED", 1), ("COMPLETED", 4)}


def test_what_a_dead_task_had_begun_is_done_by_the_next(clockwork: Clockwork) -> None:
    clockwork.fire()
    task = clockwork.next_try()
    asking = daily_metrics.TaskIdentity(**clockwork.identity(task))
    begun = daily_metrics.begin_next(clockwork.world.session, clockwork.rule_id, asking)
    again = daily_metrics.begin_next(clockwork.world.session, clockwork.rule_id, asking)
    clockwork.world.session.commit()
    assert begun.execution_id == again.execution_id is not None
    assert clockwork.jobs()[DAYS[0]] == ("RUNNING", 1)
    # While that task lives, another run leaves its day alone.
    clockwork.run("two")
    clockwork.execute(clockwork.next_try("two"))
    assert clockwork.jobs() == {
        DAYS[0]: ("RUNNING", 1),
        DAYS[1]: ("COMPLETED", 1),
        DAYS[2]: ("COMPLETED", 1),
    }
    clockwork.execute()
    assert clockwork.jobs()[DAYS[0]] == ("COMPLETED", 2)
    assert clockwork.executions(DAYS[0]) == [("FAILED", "mesos-lost"), ("COMPLETED", None)]
    # What the dead one still reports changes nothing.
    late = daily_metrics.fail(clockwork.world.session, begun.execution_id or 0, ValueError())
    assert late.outcome == "failed"
    assert clockwork.jobs()[DAYS[0]] == ("COMPLETED", 2)


def test_a_day_waits_until_it_has_settled(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    clockwork.fire()
    monkeypatch.setattr(daily_metrics, "SETTLED", timedelta(days=100_000))
    body = clockwork.identity(clockwork.next_try())
    answer = clockwork.post(f"{clockwork.rule_id}/metrics/", body).json()
    assert answer["day"] is None
    assert answer["wait"] > 0
    assert clockwork.jobs() == dict.fromkeys(DAYS, ("QUEUED", 1))


def test_only_the_very_try_that_runs_may_ask(clockwork: Clockwork, client: httpx.Client) -> None:
    clockwork.fire()
    body = clockwork.identity(clockwork.next_try())
    path = f"{clockwork.rule_id}/metrics/"
    assert client.post(f"{API}/runtime/clock/{path}", json=body).status_code == 401
    for wrong in (
        {"try_number": 7},
        {"run_id": "other"},
        {"task_instance_id": str(uuid.uuid4())},
        {"task_instance_id": "x"},
    ):
        assert clockwork.post(path, {**body, **wrong}).status_code == 403, wrong
    assert clockwork.post("999/metrics/", body).status_code == 404
    for nonsense in ({}, [], None, {**body, "try_number": "one"}):
        assert clockwork.post(path, nonsense).status_code == 400, nonsense
    assert clockwork.jobs() == dict.fromkeys(DAYS, ("QUEUED", 1))


def test_the_dag_is_there_while_the_rule_is_active(clockwork: Clockwork) -> None:
    session = clockwork.world.session
    assert not system_clock.publish_rules(session)
    file = session.scalars(select(DagFileRow).where(DagFileRow.dag_id == clockwork.dag_id)).one()
    assert "metrics_dag(" in file.source
    rule = system_clock.own_rule(session, daily_metrics.NAME)
    assert rule is not None
    # A run that is not over keeps it from being hidden.
    rule.is_active = False
    assert not system_clock.publish_rules(session)
    session.execute(update(DagRun).values(state="success"))
    assert system_clock.publish_rules(session)
    assert hidden_dags([clockwork.dag_id], session) == {clockwork.dag_id}
    rule.is_active = True
    assert system_clock.publish_rules(session)
    assert hidden_dags([clockwork.dag_id], session) == set()
