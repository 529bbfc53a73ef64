"""merge.py TABLE PARQUET...: merge each file into the table with delta-rs, one commit each; prints the seconds, CPU seconds and bytes of each as JSON."""
import json
import os
import resource
import sys
import time

LIMIT = 16 << 30  # bytes of address space: a machine that swaps measures nothing
resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))

import pyarrow.parquet as pq  # noqa: E402
from deltalake import DeltaTable  # noqa: E402


def stored(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


table = sys.argv[1]
out = {"Seconds": [], "CPU": [], "Bytes": []}
for part in sys.argv[2:]:
    rows = pq.read_table(part)
    before = stored(table)
    began, used = time.perf_counter(), cpu()
    DeltaTable(table).merge(rows, "t.id = s.id", source_alias="s", target_alias="t").when_matched_update_all().when_not_matched_insert_all().execute()
    out["Seconds"].append(time.perf_counter() - began)
    out["CPU"].append(cpu() - used)
    out["Bytes"].append(stored(table) - before)
out["RSS"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(out))
