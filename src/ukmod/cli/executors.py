"""The workers of a survey: processes on this machine, or a Dask cluster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from ukmod.errors import MissingExtraError, NotFoundError
from ukmod.record import record
from ukmod.survey.surveyor import Surveyors, survey_apart
from ukmod.survey.verdict import ModuleVerdict, Settings


@record
class Workers:
    """An executor, what its tasks are to do, and how many it does at once."""

    executor: Executor
    work: Callable[[Settings, Sequence[str]], list[ModuleVerdict]]
    count: int
    damage: Callable[[], str] = str
    """The damage found in the image so far."""


@contextmanager
def local(jobs: int, indexes: Mapping[str, bytes]) -> Iterator[Workers]:
    """So many processes of this machine; none is left, however this ends.

    ``indexes`` are those made for the tree to survey: see ``Tree.made_indexes``.
    """
    surveyors = Surveyors(indexes)
    with ThreadPoolExecutor(jobs) as executor:
        try:
            yield Workers(executor, surveyors.batch, jobs, lambda: surveyors.damage)
        finally:
            surveyors.stop()
            executor.shutdown(cancel_futures=True)
            surveyors.close()


@contextmanager
def dask(address: str) -> Iterator[Workers]:
    """The workers of a cluster, by its scheduler's address. They need ukmod, and the files at our paths.

    Raises MissingExtraError without Dask, NotFoundError if no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("--dask", "dask", error) from error
    try:
        client: Any = Client(address)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise NotFoundError(f"no Dask scheduler answers: {error}", subject=address) from error
    with client:
        executor = client.get_executor(pure=False)
        try:
            yield Workers(executor, survey_apart, sum(client.ncores().values()) or 1)
        finally:
            executor.shutdown(wait=False)
