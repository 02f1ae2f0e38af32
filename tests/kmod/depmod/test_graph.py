from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.depmod.graph import closures, closures_of, find_cycles, topological_order, users_of

GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), unique=True, max_size=4), min_size=n, max_size=n)
)


def test_users_come_before_what_they_use() -> None:
    order, users = topological_order([[1], [2], [], [2]])
    assert (order, users) == ([3, 0, 1, 2], [0, 0, 0, 0])
    assert closures([[1], [2], [], [2]], order) == [[1, 2], [2], [], [2]]


def test_a_long_chain_takes_the_memory_of_its_lists() -> None:
    chain = [[module + 1] for module in range(999)] + [[]]
    order, _users = topological_order(chain)
    tracemalloc.start()
    needed = closures(chain, order)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needed[0] == list(range(1, 1000))
    assert peak < 8 * 1.2 * sum(map(len, needed)), "eight bytes a place; all sets at once would take 32 more"


@given(GRAPHS, st.data())
def test_some_closures_and_all_users_are_those_of_the_whole(
    graph: list[list[int]], data: st.DataObject
) -> None:
    graph = [[one for one in needed if one > module] for module, needed in enumerate(graph)]
    order, _users = topological_order(graph)
    every = closures(graph, order)
    some = data.draw(st.sets(st.integers(0, len(graph) - 1)))
    made = closures_of(some, graph, order)
    assert [made[module] for module in some] == [every[module] for module in some]
    users = {module for module, needed in enumerate(every) if not some.isdisjoint(needed)}
    assert users_of(some, graph, order) == users | some


def test_a_cycle_is_a_path_back_to_its_start() -> None:
    dependencies = [[1], [2], [0], [0]]
    order, users = topological_order(dependencies)
    assert order == [3]
    assert find_cycles(dependencies, users) == [[0, 1, 2, 0]]


def test_a_module_that_needs_itself() -> None:
    assert find_cycles([[0]], topological_order([[0]])[1]) == [[0, 0]]


def test_the_search_goes_on_after_the_last_module_found() -> None:
    # After the cycle of 0 and 2 comes 3 and not 1, since kmod's list of starts is a ring.
    dependencies = [[2], [4], [0], [5], [1], [3]]
    cycles = find_cycles(dependencies, topological_order(dependencies)[1])
    assert cycles == [[0, 2, 0], [3, 5, 3], [1, 4, 1]]


def test_a_start_outside_every_cycle_ends() -> None:
    # 1 is needed by the cycle of 0, and itself needs that of 2 and 3, around which kmod runs forever.
    dependencies = [[0, 1], [2], [3], [2]]
    cycles = find_cycles(dependencies, topological_order(dependencies)[1])
    assert [0, 0] in cycles


@given(GRAPHS)
def test_every_graph_has_an_order_or_a_cycle(dependencies: list[list[int]]) -> None:
    order, users = topological_order(dependencies)
    if len(order) < len(dependencies):
        cycles = find_cycles(dependencies, users)
        assert any(len(cycle) > 1 for cycle in cycles)
        for cycle in cycles:
            assert all(after in dependencies[before] for before, after in itertools.pairwise(cycle))
        return
    place = {module: at for at, module in enumerate(order)}
    for module, needed in enumerate(closures(dependencies, order)):
        reachable: set[int] = set()
        todo = list(dependencies[module])
        while todo:
            one = todo.pop()
            if one not in reachable:
                reachable.add(one)
                todo += dependencies[one]
        assert needed == sorted(reachable, key=place.__getitem__)
        assert all(place[module] < place[one] for one in needed)


def test_dense_cycles_do_not_take_forever() -> None:
    complete = [[other for other in range(30) if other != one] for one in range(30)]
    assert find_cycles(complete, topological_order(complete)[1])
