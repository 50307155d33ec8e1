# pluto's make targets; see README.md. `make` alone builds.

GO         ?= go
BINARIES   := pluto pluto-pki plutoctl pluto-bench
VERSION    := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
BUILDFLAGS := -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
CONFIG     ?= config.toml
PRIVATE    ?= private
PUBLIC     ?= localhost,127.0.0.1
RUNS       ?= 10000
SEED       ?= 1
SOAK       ?= 1h
KILLS      ?= 1000
SOAKDIR    ?= soak
PROTOS     := imap/tunnel/node.proto comm/receiver.proto $(wildcard admin/*.proto)

.PHONY: all build deps pki test-public demo test check vet staticcheck format proto proto-check exhaustive fixture mutants sim soak soak-simulator soak-kills soak-partitions bench clean

all: build

## build: static binaries ./pluto, ./pluto-pki, ./plutoctl, ./pluto-bench
build:
	@for b in $(BINARIES); do echo "build $$b"; CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o $$b ./cmd/$$b || exit 1; done

## deps: fetch and verify the modules that go.mod names
deps:
	$(GO) mod download
	$(GO) mod verify

## pki: one CA and a certificate for every node of $(CONFIG)
pki:
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o pluto-pki ./cmd/pluto-pki
	./pluto-pki -config $(CONFIG) -dir $(PRIVATE)

## test-public: a self-signed public certificate for $(PUBLIC), for tests
test-public:
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o pluto-pki ./cmd/pluto-pki
	./pluto-pki -config $(CONFIG) -dir $(PRIVATE) -public $(PUBLIC)

## demo: two regions on loopback that a mail client can log in to, until Ctrl-C
demo: build
	./pluto -dev

## test: all tests, with the race detector
test:
	$(GO) test -race -timeout 15m ./...

## check: what a reviewer should not have to look for
check: format vet staticcheck proto-check

format:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

## proto: generate *.pb.go (needs protoc; the plugins are pinned in go.mod)
proto:
	@set -e; for p in $(PROTOS); do echo "protoc $$p"; protoc \
	  --plugin=protoc-gen-go=$$($(GO) tool -n protoc-gen-go) \
	  --plugin=protoc-gen-go-grpc=$$($(GO) tool -n protoc-gen-go-grpc) \
	  --go_out=. --go_opt=paths=source_relative \
	  --go-grpc_out=. --go-grpc_opt=paths=source_relative $$p; done

## proto-check: the committed generated code is what the .proto files give
proto-check:
	@if ! command -v protoc >/dev/null; then echo "SKIPPED: proto-check needs protoc"; exit 0; fi; \
	set -e; tmp=$$(mktemp -d); trap 'rm -rf $$tmp' EXIT; \
	for p in $(PROTOS); do protoc \
	  --plugin=protoc-gen-go=$$($(GO) tool -n protoc-gen-go) \
	  --plugin=protoc-gen-go-grpc=$$($(GO) tool -n protoc-gen-go-grpc) \
	  --go_out=$$tmp --go_opt=paths=source_relative \
	  --go-grpc_out=$$tmp --go-grpc_opt=paths=source_relative $$p; done; \
	for f in $$(cd $$tmp && find . -name '*.pb.go'); do \
	  diff -I '^// .*protoc' $$tmp/$$f $$f >/dev/null || { echo "$$f is not what its .proto file gives: make proto"; exit 1; }; done

## fixture: data of the present format for mailstore/testdata (its README says when)
fixture:
	$(GO) test ./mailstore -run 'TestUpgrade$$' -make-fixture format-$$(sed -n 's/^const formatVersion = //p' mailstore/format.go)

## exhaustive: every interleaving of small worlds of the CRDT, with how many there were and how long it took
exhaustive:
	$(GO) test ./crdt -run 'Exhaustive$$' -exhaustive -v -timeout 3h

## mutants: put deliberate faults into the code, one by one; the tests must notice each (minutes)
mutants:
	$(GO) run ./internal/mutants

## sim: $(RUNS) random runs of the simulator, from $(SEED) on
sim:
	$(GO) run ./sim/cmd/sim -seed $(SEED) -runs $(RUNS)

## soak: a million messages added and expunged, a thousand runs of clients that
## roam, then the simulator for $(SOAK), with seeds that were not run before, then
## soak-kills and soak-partitions
soak: soak-simulator soak-kills soak-partitions

soak-simulator:
	PLUTO_SOAK_MESSAGES=1000000 $(GO) test -timeout 1h -v -run TestMillion ./mailstore
	PLUTO_SOAK_ROAMS=1000 $(GO) test -timeout 1h -run TestQResyncClientsRoam ./mailnode
	$(GO) run ./sim/cmd/sim -seed $$(date +%s)000000 -runs 0 -for $(SOAK)

## soak-kills: $(KILLS) kills of workers and storage under load, with cuts of the
## network; goes on with the data and the count in $(SOAKDIR)
soak-kills:
	@mkdir -p $(SOAKDIR)
	PLUTO_SOAK_KILLS=$(KILLS) PLUTO_SOAK_DIR=$(abspath $(SOAKDIR)) $(GO) test -timeout 24h -count=1 -v -run TestSoakKills ./e2e

## soak-partitions: all pairs cut off from each other, one way and both, for $(SOAK)
soak-partitions:
	PLUTO_E2E_DURATION=$(SOAK) $(GO) test -timeout 24h -count=1 -v -run TestPartitions ./e2e

## bench: the Go benchmarks of the hot paths
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

## figures: the tables and plots of docs/convergence.md, in a minute or two
figures:
	$(GO) run ./cmd/pluto-bench figures -doc docs/convergence.md

clean:
	rm -f $(BINARIES)
