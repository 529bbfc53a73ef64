// Command sluice keeps a Delta Lake lakehouse current from the change topics of a Kafka broker. See README.md.
package main

import (
	"os"

	"sluice.io/sluice/cmd/sluice/cli"
)

// version is set by the linker (-X main.version=…); empty: what the build knows of itself.
var version string

func main() {
	os.Exit(cli.Main(cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Environ(), os.Args[1:], version))
}
