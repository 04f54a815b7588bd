# SPDX-License-Identifier: Apache-2.0
"""``@task.rescale``: a Python function that runs on Rescale."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from scale_airflow.errors import Fault, InvalidDocument, RescaleJobFailed
from scale_airflow.operators.rescale import RescaleSubmitJobOperator
from scale_airflow.rescale.endpoints import get_file_contents

if TYPE_CHECKING:
    from airflow.sdk import Context

    from scale_airflow.rescale.client import RescaleClient
    from scale_airflow.rescale.file_models import RemoteFile

SCRIPT = "airflow_task.py"
ARGUMENTS = "airflow_arguments.json"
RESULT = "airflow_result.json"

_END = f"""

if __name__ == "__main__":
    import json as _json

    with open({ARGUMENTS!r}, encoding="utf-8") as _file:
        _given = _json.load(_file)
    _result = {{name}}(*_given["args"], **_given["kwargs"])
    with open({RESULT!r}, "w", encoding="utf-8") as _file:
        _json.dump(_result, _file)
"""


class _RescaleDecoratedOperator(DecoratedOperator, RescaleSubmitJobOperator):
    """Runs a function's source on Rescale with Python 3; arguments and result travel as JSON.

    The function stands for itself: what it needs it imports inside.

    :param python_command: the interpreter on the cluster.
    :param setup_command: what the shell does before, such as ``pip install numpy``.
    """

    custom_operator_name = "@task.rescale"
    template_fields: Sequence[str] = (*RescaleSubmitJobOperator.template_fields, "op_args", "op_kwargs")
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        python_command: str = "python3",
        setup_command: str | None = None,
        analysis: str | Mapping[str, Any] | None = None,
        inputs: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # The software of an own command, unless another is wanted or the job's document names one.
        named = analysis is not None or "job" in kwargs or "template_from_job" in kwargs
        self.python_command = python_command
        self.setup_command = setup_command
        super().__init__(analysis=analysis if named else "user_included", inputs=inputs, **kwargs)

    def execute(self, context: Context) -> Any:
        """Write the script and run it as a job.

        :raises InvalidDocument: if an argument can't be written as JSON.
        """
        self.inputs = [*(self.inputs or ()), *self._files()]
        run = f"{self.python_command} {SCRIPT}"
        self.command = f"{self.setup_command}\n{run}" if self.setup_command else run
        return super().execute(context)

    def result_of(
        self,
        client: RescaleClient,
        job_id: str,
        files: Mapping[str, Sequence[RemoteFile]],
        result: dict[str, Any],
    ) -> Any:
        """Return what the function returned.

        :raises RescaleJobFailed: if it is not there.
        """
        found = [file for file in files.get("", ()) if file.relative_path == RESULT]
        if not found:
            reason = f"The function left no {RESULT}: its command did not come to its end"
            raise RescaleJobFailed(f"Job {job_id} failed. {reason}", job_id=job_id, reason=reason)
        return json.loads(client.send(get_file_contents(found[0].id)))

    def _files(self) -> list[dict[str, str]]:
        given = {"args": list(self.op_args), "kwargs": dict(self.op_kwargs)}
        try:
            arguments = json.dumps(given, allow_nan=False)
        except (TypeError, ValueError) as error:
            problem = f"The arguments of {self.python_callable.__name__} can't be written as JSON: {error}"
            raise InvalidDocument(
                "Rescale job", [Fault("/op_kwargs", problem, "rescale-job.argument")]
            ) from None
        source: str = self.get_python_source()  # type: ignore[no-untyped-call]
        script = source + _END.format(name=self.python_callable.__name__)
        return [{"name": SCRIPT, "content": script}, {"name": ARGUMENTS, "content": arguments}]


def rescale_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """Make a task of a function that runs on Rescale.

    :param python_callable: the function; its arguments and result must be JSON values.
    :param multiple_outputs: whether a dictionary that it returns becomes several XComs.
    :param kwargs: of :class:`~scale_airflow.operators.rescale.RescaleSubmitJobOperator`, and
        ``python_command``, ``setup_command``.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_RescaleDecoratedOperator,
        **kwargs,
    )
