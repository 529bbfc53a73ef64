"""driver.py READ_TABLE: does what requests ask, one JSON object a line on stdin, one answer a line on stdout.

READ_TABLE is the tool whose engines and canonical encoding are used. Requests:
  {"do":"read","engine":E,"path":P[,"version":N][,"cdf":[FROM,TO]][,"where":SQL]}   -> {"lines":[...]}
  {"do":"history","path":P}                        (delta-rs, Spark)                -> {"lines":[...]}
  {"do":"call","path":P,"name":METHOD,"args":{}}   a method of delta-rs' DeltaTable -> {"lines":[]}
  {"do":"append","engine":E,"path":P,"rows":[...]} delta-rs, polars, duckdb         -> {"lines":[]}
  {"do":"merge","path":P,"rows":[...]}             delta-rs: upsert by id           -> {"lines":[]}
  {"do":"sql","sql":TEXT}                          Spark                            -> {"lines":[]}
An engine that refuses or fails: {"error":"..."}.
"""
import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
loader = SourceFileLoader("read_table", sys.argv[1])
rt = importlib.util.module_from_spec(importlib.util.spec_from_loader("read_table", loader))
loader.exec_module(rt)


def where(engine, path, text):
    """Rows that a condition of SQL holds for, so that the engine skips files by our statistics."""
    if engine == "delta-rs":
        import pyarrow as pa
        from deltalake import DeltaTable, QueryBuilder
        dt = DeltaTable(path, storage_options=rt.storage())
        return pa.table(QueryBuilder().register("t", dt).execute(f"select * from t where {text}"))
    if engine == "duckdb":
        con = duck()
        return con.execute(f"SELECT * FROM delta_scan('{path}') WHERE {text}").to_arrow_table()
    if engine == "polars":
        import polars as pl
        t = pl.scan_delta(path)
        return pl.SQLContext(t=t).execute(f"select * from t where {text}").collect().to_arrow()
    if engine == "spark":
        return spark_read(path, text=text)
    raise NotImplementedError(f"no conditions with {engine}")


def spark_read(path, version=None, cdf=None, text=None):
    """A Delta table read by Spark. Its way to Arrow fails where a member that may not be null lies in a struct that is null, so all may be null."""
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    def loose(t):
        if isinstance(t, T.StructType):
            return T.StructType([T.StructField(f.name, loose(f.dataType), True) for f in t.fields])
        if isinstance(t, T.ArrayType):
            return T.ArrayType(loose(t.elementType), True)
        if isinstance(t, T.MapType):
            return T.MapType(loose(t.keyType), loose(t.valueType), True)
        return t

    r = rt.spark_session().read.format("delta")
    if cdf:
        r = r.option("readChangeFeed", "true").option("startingVersion", cdf[0]).option("endingVersion", cdf[1])
    elif version is not None:
        r = r.option("versionAsOf", version)
    df = r.load(path)
    if text:
        df = df.where(text)
    names = [f for f in df.schema.fields if not (cdf and f.name == "_commit_timestamp")]
    return df.select([F.col("`" + f.name.replace("`", "``") + "`").cast(loose(f.dataType)).alias(f.name) for f in names]).toArrow()


def duck():
    import os
    import duckdb
    con = duckdb.connect()
    folder = os.path.dirname(rt.need("duckdb_extension_delta").__file__)
    con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")
    if rt._has_icu(con):
        con.execute("SET TimeZone='UTC'")
    return con


def history(path):
    from deltalake import DeltaTable
    return [json.dumps({"operation": h.get("operation"), "timestamp": h.get("timestamp"), "version": h.get("version")}, separators=(",", ":"))
            for h in DeltaTable(path).history()]


def arrow_rows(path, rows):
    """Rows as an Arrow table of the Delta table's own types."""
    import pyarrow as pa
    from deltalake import DeltaTable
    schema = pa.schema(DeltaTable(path).schema().to_arrow())
    return pa.Table.from_pylist(rows, schema=schema)


def answer(q):
    do, path = q["do"], q.get("path")
    if do == "read":
        if q.get("where"):
            return rt.lines(where(q["engine"], path, q["where"]))
        cdf = tuple(q["cdf"]) if q.get("cdf") else None
        if q["engine"] == "spark":
            return rt.lines(spark_read(path, q.get("version"), cdf))
        return rt.read(q["engine"], path, q.get("version"), cdf)
    if do == "history":
        return history(path)
    if do == "call":
        from deltalake import DeltaTable
        target = DeltaTable(path)
        for name in q["name"].split("."):
            target = getattr(target, name)
        target(**q.get("args", {}))
        return []
    if do == "append":
        if q["engine"] == "duckdb":
            con = duck()
            con.execute(f"ATTACH '{path}' AS t (TYPE delta)")
            new = arrow_rows(path, q["rows"])
            con.register("new_rows", new)
            con.execute("INSERT INTO t SELECT * FROM new_rows")
            return []
        if q["engine"] == "polars":
            import polars as pl
            pl.from_arrow(arrow_rows(path, q["rows"])).write_delta(path, mode="append")
            return []
        from deltalake import write_deltalake
        write_deltalake(path, arrow_rows(path, q["rows"]), mode="append")
        return []
    if do == "merge":
        from deltalake import DeltaTable
        (DeltaTable(path).merge(arrow_rows(path, q["rows"]), "t.id = s.id", source_alias="s", target_alias="t")
         .when_matched_update_all().when_not_matched_insert_all().execute())
        return []
    if do == "sql":
        rt.spark_session().sql(q["sql"]).collect()
        return []
    raise ValueError(f"unknown request {do}")


def main():
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        try:
            a = {"lines": [x.decode() if isinstance(x, bytes) else x for x in answer(json.loads(line))]}
        except BaseException as e:  # Rust panics are no Exceptions
            if isinstance(e, KeyboardInterrupt):
                raise
            text = "\n".join(line for line in str(e).split("\n") if not line.startswith("\tat "))
            a = {"error": f"{type(e).__name__}: {text}"[:2000]}
        out.write(json.dumps(a).encode() + b"\n")
        out.flush()


main()
