# ARGS, PKG and the like may be given on the command line: make test PKG=./cache

PKG      ?= ./...
FUZZTIME ?= 10s
CHECKS   ?= 2000
MICRO    ?= ^Benchmark(Decide|Record|TierLoad|Fetch)$$
FETCH    := ./proxy ./proxy/session ./cache ./metrics ./cmd/cstproxy
BASELINE := cmd/cstbench/baseline.txt
BIN      ?= bin/
IMAGE    ?= ghcr.io/cstproxy/cstproxy
IMAGE_ARGS ?= --tag $(IMAGE):$(VERSION)
ENGINE   ?= $(firstword $(foreach name,docker podman buildah,$(if $(shell command -v $(name)),$(name))) docker)

# What the binary says of itself. It comes from here alone, so that a build without the repository, as in an image, can be
# told the same and gives the same bytes.
VERSION  := $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null || echo devel))
REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# When the commit was made, in seconds and in words: an image built later is the same.
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
CREATED  := $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo 1970-01-01T00:00:00Z)
# Without the template engine for help that has the same text either way: whoever calls methods by names that only appear at
# run time keeps every method of every type in the binary, which is a third of it.
TAGS     := urfave_cli_no_template
# Nothing is inlined in what runs at the start alone, or once a scrape: that is a quarter of a megabyte, and nobody waits for it.
GCFLAGS  := $(foreach cold,google.golang.org/protobuf go.yaml.in github.com/urfave github.com/tink-crypto github.com/go-jose github.com/prometheus/common github.com/prometheus/procfs,-gcflags=$(cold)/...=-l)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)
TOOL     := go tool -modfile=.tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help run build image release test series lint fmt bench micro baseline allocations fuzz soak cover licenses sbom manifests screenshots day observe types ci hooks clean redis

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

run: ## Start the proxy in front of a simulated Portal; ARGS are passed on
	go run -tags $(TAGS) ./cmd/cstproxy demo $(ARGS)

build: ## Build static binaries into bin/
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -tags $(TAGS) $(GCFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/cstproxy

image: ## Build the container image for this machine, with ENGINE
	BUILDAH_FORMAT=docker SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(ENGINE) build $(IMAGE_ARGS) $(if $(findstring docker,$(ENGINE)),,--timestamp $(SOURCE_DATE_EPOCH)) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) .

release: ## Make archives, bills of materials, provenance, sums and signature; DRY_RUN=1 of any commit
	@.tools/release

test: redis ## Run all tests with the race detector, in random order
	@.ci/test -tags $(TAGS) -race -shuffle=on -- $(PKG)

series: ## Serve 100,000 clients and count the series: without the race detector, which would take half a minute
	go test -tags $(TAGS) -count=1 -run '^TestSeriesOfAReplicaNeverGrowInNumber$$' -v ./cmd/cstproxy

lint: ## Report what breaks the rules of this code
	$(TOOL) golangci-lint run $(PKG)
	go run ./.ci/shape

fmt: ## Format the code and group its imports
	$(TOOL) golangci-lint fmt

bench: redis ## Measure everything on this machine, which should have nothing else to do, and write BENCHMARKS.md
	.tools/rivals/install
	go run ./cmd/cstbench load
	go test -count=1 -timeout 60m ./cmd/cstbench -run '^TestMintCost$$' -mints full -results $(CURDIR)/cmd/cstbench/results
	go test -count=1 -timeout 60m ./cmd/cstbench -run '^TestMintsAreThoseOfRedisAndOfPortal$$' -mints full
	go run ./cmd/cstbench scale
	go run ./cmd/cstbench report

micro: bin/micro.txt ## Benchmark decision, record, memory and a whole fetch, and compare with the committed baseline
	$(TOOL) benchstat $(BASELINE) $<

baseline: bin/micro.txt ## Have what micro measures be the baseline
	mv $< $(BASELINE)

bin/micro.txt: redis
	@mkdir -p $(@D)
	go test -run '^$$' -bench '$(MICRO)' -benchmem -benchtime 100ms -count 10 $(FETCH) >$@ || { cat $@; exit 1; }

allocations: redis ## Hold decision, record, memory and a whole fetch to their allocations, which the race detector would add to
	go test -count=1 -run 'Allocat' $(FETCH)

fuzz: redis ## Run each fuzz target for FUZZTIME
	FUZZTIME=$(FUZZTIME) .ci/fuzz

soak: redis ## Run the tests of a fleet, and the models, in their long form, with the race detector
	go test -race -run 'Fleet|Rotating' -timeout 30m ./cmd/cstproxy -soak
	go test -race -run 'History|Rule|Linearizable|Window' -timeout 30m ./cache ./proxy/session -rapid.checks=$(CHECKS)

cover: redis ## Measure the coverage of all packages by all tests
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -n 1

licenses: ## List the licenses of what is linked in, in LICENSES.md
	@go -C .tools run ./supply licenses ./cmd/cstproxy >LICENSES.tmp || { rm LICENSES.tmp; exit 1; }
	@mv LICENSES.tmp LICENSES.md

sbom: build ## Write a CycloneDX bill of materials beside the binary
	go -C .tools run ./supply sbom ../bin/cstproxy $(VERSION) >bin/cstproxy.cdx.json

day: ## Draw the plot of a scripted day, as a real Prometheus sees it
	.ci/observe -test.run '^TestEveryQueryOfTheDashboardHasAnAnswerWithinADay$$' -day $(CURDIR)/deploy/screenshots/day.svg

observe: ## Hold rules, alerts and dashboard to what a real Prometheus sees of real replicas, in a minute and a half
	.ci/observe

types: ## Make TypeScript types of the specification, and hold real answers and a client to them
	.ci/types

manifests: ## Render the golden files of the manifests under deploy/ anew
	go -C deploy/check test . -run '^TestPrometheusRuleIsWhatPrometheusLoads$$' -update
	go -C deploy/check test . ./chart -run '^TestRenderedIsAsReviewed$$' -update

screenshots: ## Take the pictures of the status page anew
	.ci/browser screenshots deploy/screenshots

ci: ## Run everything that CI runs
	.ci/run

hooks: ## Check each commit before it is made
	git config core.hooksPath .githooks

clean: ## Remove what the other targets made
	rm -rf bin dist coverage.out coverage.html

redis:
	@.ci/need-redis

# Prints a variable, for scripts.
say-%:
	@echo '$($*)'
