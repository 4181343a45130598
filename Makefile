# ARGS, PKG and the like may be given on the command line: make test PKG=./cache

PKG      ?= ./...
BENCH    ?= .
COUNT    ?= 1
FUZZTIME ?= 10s
CHECKS   ?= 2000

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOL    := go tool -modfile=.tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help run build test lint fmt bench fuzz soak cover licenses sbom manifests ci hooks clean redis

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf '  %-9s %s\n' "$$name" "$$text"; done

run: ## Start the proxy in front of a simulated Portal; ARGS are passed on
	go run ./cmd/cstproxy demo $(ARGS)

build: ## Build static binaries into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

test: redis ## Run all tests with the race detector, in random order
	go test -race -shuffle=on $(PKG)

lint: ## Report what breaks the rules of this code
	$(TOOL) golangci-lint run $(PKG)
	go run ./.ci/shape

fmt: ## Format the code and group its imports
	$(TOOL) golangci-lint fmt

bench: redis ## Run the benchmarks that match BENCH, COUNT times
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

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
	go -C .tools run ./supply sbom ../bin/cstproxy >bin/cstproxy.cdx.json

manifests: ## Render the golden files of the manifests under deploy/ anew
	go -C deploy/check test . ./chart -run '^TestRenderedIsAsReviewed$$' -update

ci: ## Run everything that CI runs
	.ci/run

hooks: ## Check each commit before it is made
	git config core.hooksPath .githooks

clean: ## Remove what the other targets made
	rm -rf bin coverage.out coverage.html

redis:
	@.ci/need-redis
