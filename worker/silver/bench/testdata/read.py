"""read.py TABLE FRESH: write TABLE's rows anew with delta-rs, then read both with DuckDB, in turn; prints times, CPU seconds and sizes as JSON."""
import json
import os
import resource
import sys
import time

import duckdb
import duckdb_extension_delta
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

con = duckdb.connect()
folder = os.path.dirname(duckdb_extension_delta.__file__)
con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def read(path):
    cols = ", ".join('"' + r[0] + '"' for r in con.execute(f"DESCRIBE SELECT * FROM delta_scan('{path}')").fetchall())
    began, used = time.perf_counter(), cpu()
    row = con.execute(f"SELECT count(*), bit_xor(hash({cols})), sum(hash({cols}) % 1000003) FROM delta_scan('{path}')").fetchone()
    return row, time.perf_counter() - began, cpu() - used


def size(path):
    t = pa.table(DeltaTable(path).get_add_actions())
    return t.num_rows, sum(t.column("size_bytes").to_pylist()) / 2**20


table, fresh = sys.argv[1:3]
rows = con.execute(f"SELECT * FROM delta_scan('{table}')").to_arrow_reader(100_000)
write_deltalake(fresh, rows)
out = {"Ours": [], "Fresh": [], "OursCPU": [], "FreshCPU": []}
was, now = None, None
for i in range(4):
    was, t, c = read(table)
    now, u, d = read(fresh)
    if i:  # the first time warms the caches
        out["Ours"].append(t)
        out["OursCPU"].append(c)
        out["Fresh"].append(u)
        out["FreshCPU"].append(d)
out["Rows"], out["Equal"] = was[0], was == now
out["FreshFiles"], out["FreshMB"] = size(fresh)
con.close()
try:
    out["OursFiles"], out["OursMB"] = size(table)
except Exception:  # it has features that this delta-rs does not read
    out["OursFiles"], out["OursMB"] = 0, 0
print(json.dumps(out))
