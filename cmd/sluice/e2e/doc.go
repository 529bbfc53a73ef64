// Package e2e holds the tests that run the real binary as its users do: processes, REST, a broker, a lake on disk.
// Nothing of the product imports it, and it imports nothing of the product but the readers of the lake (delta) to
// look at what came out.
//
// The broker is kfake in `make test`; where SLUICE_KAFKA_LIBS names the jars of Apache Kafka it is a real one.
package e2e
