"""lines.py sum TABLE: the sums of lineitem's rows, by DuckDB. lines.py merge TABLE PARQUET: merge the file into the table with delta-rs. Prints JSON."""
import json
import os
import resource
import sys
import time

LIMIT = 18 << 30  # bytes of address space: a machine that swaps measures nothing


def duck():
    import duckdb
    import duckdb_extension_delta
    con = duckdb.connect()
    folder = os.path.dirname(duckdb_extension_delta.__file__)
    con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")
    return con


def stored(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def sums(table):
    row = duck().execute(f"""SELECT count(*), sum(l_orderkey), sum(l_linenumber), sum(l_partkey), sum(l_suppkey),
        (sum(l_extendedprice) * 100)::HUGEINT, sum(l_shipdate - DATE '1970-01-01') FROM delta_scan('{table}')""").fetchone()
    return dict(zip(["Rows", "Order", "Line", "Part", "Supp", "Price", "Shipped"], map(int, row)))


def merge(table, part):
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    import pyarrow.parquet as pq
    from deltalake import DeltaTable
    rows = pq.read_table(part)
    before = stored(table)
    began, used = time.perf_counter(), cpu()
    (DeltaTable(table).merge(rows, "t.l_orderkey = s.l_orderkey and t.l_linenumber = s.l_linenumber", source_alias="s", target_alias="t")
        .when_matched_update_all().when_not_matched_insert_all().execute())
    return {"Seconds": [time.perf_counter() - began], "CPU": [cpu() - used], "Bytes": [stored(table) - before],
            "RSS": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


print(json.dumps(sums(sys.argv[2]) if sys.argv[1] == "sum" else merge(*sys.argv[2:4])))
