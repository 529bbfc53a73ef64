// Package foreign holds the tests in which other engines open the tables that we write: delta-rs, Polars, DuckDB (all three
// replay the log with delta-kernel-rs), the Java kernel and Spark (both independent of it); and those in which delta-rs and Spark write
// our tables, and we go on.
//
// There is no code in it but tests. They run where READERS_HOME names the folder that .ci/stack/install spark filled (the
// real-systems suite, .ci/real, sets it), and skip elsewhere.
//
// tables_test.go makes the tables, each feature alone and the mixes that silver uses, and says which engine refuses which of
// them: a refusal that is not listed fails the test, and so does a listed one that does not happen, so that the lists are
// true. readers_test.go and spark_test.go compare rows, versions, change feeds and filtered readings with our own; writers_test.go lets them write. One process for each engine
// reads all tables (internal/testkit/engines).
package foreign
