"""What Citus asks of statements about a distributed table, checked on PostgreSQL's own parse tree.

From "SQL Support and Workarounds" (docs.citusdata.com, stable: develop/reference_workarounds) and from the
checks of the planner itself (citusdata/citus: query_pushdown_planning.c, DeferErrorIfCannotPushdownSubquery
and DeferErrorIfUnsupportedTableCombination). Stricter than Citus where that is simpler: a subquery about
events that depends on the row around it is never allowed, though Citus runs some.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pglast import parse_sql

TABLE = "events"
KEY = "user_key"

Node = Mapping[str, Any]

# Columns by table, to tell whose an unqualified name is.
Columns = Mapping[str, frozenset[str]]

_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}
_SESSION_LOCK = re.compile(r"pg_(try_)?advisory_(lock|unlock)")
_TABLE_FUNCTIONS = {"unnest", "generate_series"}
_VOLATILE = {"random", "nextval", "gen_random_uuid", "clock_timestamp", "uuidv4", "uuidv7"}
_SESSION_STATEMENTS = {"ListenStmt": "LISTEN", "NotifyStmt": "NOTIFY", "UnlistenStmt": "UNLISTEN"}
_REFUSED = {
    "UpdateStmt": "UPDATE of events: Citus refuses another user_key, so delete and insert",
    "MergeStmt": "MERGE",
    "RangeTableSample": "TABLESAMPLE",
    "DeclareCursorStmt": "a cursor over all shards",
    "CreateTrigStmt": "a trigger on a distributed table",
    "RuleStmt": "a rule on a distributed table",
    "CreateTableAsStmt": "a table made from a distributed one",
}


def violations(sql: str, columns: Columns) -> list[str]:
    """Return what Citus would refuse in statements, if `events` were distributed by user_key."""
    found = []
    for statement in parse_sql(_with_numbers(sql)):
        tree: Node = statement.stmt()  # type: ignore[misc]  # a tree of dictionaries, say its docs
        found += list(_of_sessions(tree))
        if _touches(tree):
            found += [*_of_statement(tree), *_of_selects(tree, columns)]
    return found


def _with_numbers(sql: str) -> str:
    """Return a statement as PostgreSQL gets it: psycopg's placeholders as its own."""
    return re.sub(r"%\(\w+\)[sbt]", "$1", sql).replace("%%", "%")


def _walk(node: object) -> Iterator[Node]:
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, tuple):
        for value in node:
            yield from _walk(value)


def _kind(node: Node) -> str:
    return str(node.get("@", ""))


def _tables(node: object) -> set[str]:
    return {each["relname"] for each in _walk(node) if _kind(each) == "RangeVar"}


def _touches(node: object) -> bool:
    return TABLE in _tables(node)


def _functions(node: object) -> set[str]:
    return {each["funcname"][-1]["sval"] for each in _walk(node) if _kind(each) == "FuncCall"}


def _of_sessions(tree: Node) -> Iterator[str]:
    """Yield what a pool of connections breaks, whichever table it is about."""
    if _kind(tree) in _SESSION_STATEMENTS:
        yield _SESSION_STATEMENTS[_kind(tree)]
    for name in _functions(tree):
        if _SESSION_LOCK.fullmatch(name.removesuffix("_shared").removesuffix("_all")):
            yield f"{name}: a lock that outlives its transaction"


def _of_statement(tree: Node) -> Iterator[str]:
    if "users" in _tables(tree):
        yield "users beside events: only one of them is distributed"
    for node in _walk(tree):
        kind = _kind(node)
        # A statement that fills a table of the coordinator from events is allowed.
        target = _tables(node.get("relation") or node)
        if kind in _REFUSED and TABLE in target:
            yield _REFUSED[kind]
        if kind == "InsertStmt" and node["relation"]["relname"] == TABLE:
            yield from _of_insert(node)
        if kind == "DeleteStmt" and node["relation"]["relname"] == TABLE:
            yield from (f"{name}() in DELETE" for name in _functions(node) & _VOLATILE)
        if kind == "WithClause" and node["recursive"]:
            yield "WITH RECURSIVE"
        if kind == "AlterTableCmd":
            yield from _of_alteration(node)
        if kind == "ColumnRef" and _names(node)[-1] in _SYSTEM_COLUMNS:
            yield f"{_names(node)[-1]}: a system column of a shard"


def _of_insert(node: Node) -> Iterator[str]:
    if KEY not in {column["name"] for column in node["cols"] or ()}:
        yield "INSERT without user_key"
    conflict = node["onConflictClause"]
    if conflict is None:
        return
    if conflict["action"]["name"] != "ONCONFLICT_NOTHING":
        yield "ON CONFLICT DO UPDATE of events"
    inferred = (conflict["infer"] or {}).get("indexElems")
    if inferred is not None and KEY not in {element["name"] for element in inferred}:
        yield "ON CONFLICT without user_key"


def _of_alteration(node: Node) -> Iterator[str]:
    kind = node["subtype"]["name"]
    if kind == "AT_DetachPartitionFinalize" or (kind == "AT_DetachPartition" and node["def_"]["concurrent"]):
        yield "DETACH PARTITION CONCURRENTLY"


def _of_selects(tree: Node, columns: Columns) -> Iterator[str]:
    for node in _walk(tree):
        kind = _kind(node)
        if kind == "SelectStmt":
            yield from _of_select(node)
        inner = node.get("subquery") if kind == "RangeSubselect" else node.get("subselect")
        if inner is not None and _touches(inner):
            if kind == "RangeSubselect" and node["lateral"]:
                yield "LATERAL about events"
            elif outer := _outer_names(inner, columns):
                yield f"a subquery about events that depends on {', '.join(sorted(outer))}"


def _of_select(node: Node) -> Iterator[str]:
    """Yield what one level of a query that reads events itself may not have."""
    sources = list(_sources(node["fromClause"]))
    if not any(_kind(each) == "RangeVar" and each["relname"] == TABLE for each in sources):
        return
    if node["lockingClause"]:
        yield "FOR UPDATE or FOR SHARE"
    if any(_kind(each) == "GroupingSet" for each in node["groupClause"] or ()):
        yield "GROUPING SETS, CUBE or ROLLUP"
    for source in sources:
        if _kind(source) == "RangeFunction" and not _functions(source["functions"]) <= _TABLE_FUNCTIONS:
            yield "a function beside events that may not be immutable"
        if _kind(source) == "RangeSubselect" and source["subquery"]["valuesLists"]:
            yield "VALUES beside events"
    for join in _walk(node["fromClause"]):
        if _kind(join) == "JoinExpr" and _is_outer(join):
            yield "an outer join whose other side is not distributed"


def _is_outer(join: Node) -> bool:
    """Tell whether a join keeps rows of its other side that no event meets."""
    kind = join["jointype"]["name"]
    left, right = _touches(join["larg"]), _touches(join["rarg"])
    return (
        (kind == "JOIN_FULL" and (left or right))
        or (right if kind == "JOIN_LEFT" else False)
        or (left if kind == "JOIN_RIGHT" else False)
    )


def _sources(node: object) -> Iterator[Node]:
    """Yield what a FROM clause reads, joins taken apart, subqueries whole."""
    for each in node if isinstance(node, tuple) else (node,):
        if isinstance(each, Mapping):
            if _kind(each) == "JoinExpr":
                yield from _sources((each["larg"], each["rarg"]))
            else:
                yield each


def _names(reference: Node) -> list[str]:
    return [str(field.get("sval", "*")) for field in reference["fields"]]


def _outer_names(select: Node, columns: Columns) -> set[str]:
    """Return the names in a subquery that nothing inside it explains."""
    aliases: set[str] = set()
    known: set[str] = set()
    for node in _walk(select):
        alias = node.get("alias")
        if alias and _kind(node) != "FuncCall":
            aliases.add(alias["aliasname"])
            known |= {column["sval"] for column in alias["colnames"] or ()} | {alias["aliasname"]}
        if _kind(node) == "RangeVar":
            aliases.add(node["relname"])
            known |= columns.get(node["relname"], frozenset())
        if _kind(node) == "ResTarget" and node["name"]:
            known.add(node["name"])
    names = [_names(node) for node in _walk(select) if _kind(node) == "ColumnRef"]
    return {
        ".".join(parts)
        for parts in names
        if (parts[0] not in aliases if len(parts) > 1 else parts[0] not in known | {"*"})
    }
