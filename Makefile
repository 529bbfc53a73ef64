# `make help` lists the targets. Only Go is needed; tools are pinned in go.mod.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.version=$(VERSION)
# More flags for go test, such as -v or -run.
TESTFLAGS ?=
ARGS ?=

# No C: a static binary, nothing but Go needed, and one build cache for binary and tests. Only the race detector needs C.
export CGO_ENABLED = 0

.DEFAULT_GOAL := help

##@ Use it

.PHONY: build
build: ## Build bin/sluice
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/sluice ./cmd/sluice

.PHONY: run
run: build ## Run the whole pipeline on a sample shop (sluice dev); ARGS="--fast" and others are passed on
	./bin/sluice dev $(ARGS)

.PHONY: install
install: ## Install sluice into GOBIN
	$(GO) install -trimpath -ldflags '$(LDFLAGS)' ./cmd/sluice

.PHONY: image
image: ## Build the container image dist/sluice.tar, without a container daemon
	$(GO) build -trimpath -ldflags '-s -w $(LDFLAGS)' -o dist/sluice ./cmd/sluice
	$(GO) run ./internal/tools/image -binary dist/sluice -version $(patsubst v%,%,$(VERSION)) -out dist/sluice.tar

##@ Change it

.PHONY: test
test: ## All tests of every day (under ten minutes on two cores)
	$(GO) test -timeout 9m $(TESTFLAGS) ./...

.PHONY: race
race: ## All tests under the race detector, but those that run the binary
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(TESTFLAGS) $$($(GO) list ./... | grep -v /cmd/sluice/e2e)

.PHONY: long
long: ## Property tests, fuzz seeds and kill tests with many more rounds
	SLUICE_TEST_LONG=1 $(GO) test -timeout 60m $(TESTFLAGS) ./...

.PHONY: histories
histories: ## The laws of the merge on 10 000 random histories (some minutes)
	$(GO) test -count=1 -timeout 30m -run '^(TestLaws|TestHistoryLaws|TestColumnLaws|TestKeylessLaws|TestKeylessOrderLaws|TestKeylessSourcesLaws|TestSourcesLaws)$$' ./worker/silver -rapid.checks=300

.PHONY: real
real: ## End to end against a real Apache Kafka broker and foreign readers (installs them)
	.ci/real

.PHONY: seeds
seeds: ## Simulation, chaos runs and rolling upgrade, five times with different seeds (ARGS="FIRST COUNT")
	.ci/seeds $(ARGS)

.PHONY: deploy
deploy: ## Check what deploy/ holds: chart, compose file, unit, image (installs helm and kubeconform)
	.ci/deploy

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, module and generated files
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt -w these:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod verify >/dev/null
	$(GO) run ./internal/tools/protogen -check
	$(GO) test -count=1 ./internal/arch

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w $$(git ls-files '*.go')

.PHONY: proto
proto: ## Generate proto/ anew
	$(GO) run ./internal/tools/protogen

##@ Measure it

.PHONY: bench bench-bronze bench-backlog bench-fresh
bench: build ## Print all figures: bronze, backlog, freshness
	./bin/sluice bench all $(ARGS)
bench-bronze: build ## Small JSON events into bronze
	./bin/sluice bench bronze $(ARGS)
bench-backlog: build ## Debezium events into bronze and silver
	./bin/sluice bench backlog $(ARGS)
bench-fresh: build ## From the append in Kafka to the commit in silver
	./bin/sluice bench fresh $(ARGS)

.PHONY: bench-delta
bench-delta: ## The Delta room beside delta-rs (READERS_HOME): open, scan, append, checkpoint, commit
	CGO_ENABLED=0 $(GO) test -c -o bin/bench-delta ./connectors/delta/bench
	SLUICE_BENCH_DELTA=1 ./bin/bench-delta $(ARGS)

.PHONY: bench-merge bench-lineitem bench-sustained bench-skew bin/bench-merge
bench-merge: bin/bench-merge ## 10 000 updates into 10^5, 10^6, 10^7 rows beside MERGE of delta-rs and Spark (where READERS_HOME has them; ARGS=-spark=false), results compared
	SLUICE_BENCH_MERGE=1 ./bin/bench-merge $(ARGS)
bench-lineitem: bin/bench-merge ## 0.6 M mixed upserts into lineitem of 60 M rows, cold and warm (6 GB of disk; ARGS=-delta-rs for that, too)
	SLUICE_BENCH_MERGE=1 ./bin/bench-merge lineitem $(ARGS)
bench-sustained: bin/bench-merge ## 20 000 changes/s over 10^7 keys for ten minutes: freshness, memory, and reading the table afterwards (READERS_HOME)
	SLUICE_BENCH_MERGE=1 ./bin/bench-merge sustained $(ARGS)
bench-skew: bin/bench-merge ## Equal rows without key, many versions of one key, a truncate: CPU a row, memory (ARGS=-rows=1000000 -only=equal)
	SLUICE_BENCH_MERGE=1 ./bin/bench-merge skew $(ARGS)
bin/bench-merge:
	CGO_ENABLED=0 $(GO) test -c -o bin/bench-merge ./worker/silver/bench

.PHONY: bench-cluster
bench-cluster: ## Three nodes: kill to fresh, pause of moved tasks, cost per event on 1, 2, 3 nodes, conflicts; planner and state at scale
	$(GO) test -run '^$$' -bench 'Plan|State' -benchmem ./coordinator/placement ./coordinator
	$(GO) test -v -run '^$$' -bench Cluster -benchtime 1x -timeout 60m ./cmd/sluice/e2e | grep -aE '^(Benchmark|ok|FAIL|---)|FIGURE|kill [0-9]+ of'

.PHONY: bench-go
bench-go: ## Go benchmarks of all rooms
	$(GO) test -run '^$$' -bench . -benchmem ./...

##@ Other

.PHONY: clean
clean: ## Remove what was built (data/ stays)
	rm -rf bin dist

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
