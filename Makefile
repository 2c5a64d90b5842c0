# gopm needs Go (1.21 or newer: it fetches the version that go.mod asks for by itself)
# and make. `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GO      ?= go
PREFIX  ?= /usr/local
# The tag; between tags, or in an unpacked archive, the file VERSION and the commit if known.
VERSION := $(shell git describe --tags --dirty 2>/dev/null || \
	echo "$$(cat VERSION)$$(git describe --always --dirty 2>/dev/null | sed 's/^/-/')")
LDFLAGS := -s -w -X gopm/cmd.version=$(VERSION)

# What tests need beside Go is kept outside the checkout and used again.
export GOPM_CACHE ?= $(HOME)/.cache/gopm
export GOPM_PARTS := $(GOPM_CACHE)/parts

STATICCHECK := $(GOPM_PARTS)/staticcheck-0.8.2/staticcheck

.DEFAULT_GOAL := build
.PHONY: build demo test test-nocobase figures fuzz chaos soak check bench bench-peers release release-check install help go

build: go ## build bin/gopm, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/gopm ./cmd/gopm

demo: build ## start an example, look at it, crash it, see it recover (needs nothing but Go)
	examples/demo/run

test: go ## install what the tests need, then run all of them
	tools/parts test
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -parallel 6 -timeout 20m ./... # most of the time most tests wait

test-nocobase: go ## examples/nocobase-cluster with NocoBase itself: minutes, 1.2 GB outside the checkout
	tools/parts test
	tools/parts nocobase
	GOPM_NOCOBASE=1 $(GO) test ./cmd -run '^TestNocoBaseCluster$$' -count=1 -v -timeout 40m

figures: go ## print the figures of the examples' READMEs anew
	tools/parts test
	$(GO) test ./cmd -run '^Test(Slides|NodeRED|LeaderElection|NocoBase|SyncWS)' -count=1 -v | sed -n 's/.*figure: //p; /^--- FAIL/p'

fuzz: go ## run each fuzz target for a minute, more than an hour in all (FUZZTIME=10s)
	GO="$(GO)" tools/fuzz

chaos: go ## kill gopm and its apps at random for 10 minutes (GOPM_CHAOS=1h, GOPM_CHAOS_SEED=1)
	tools/parts test
	GOPM_CHAOS=$${GOPM_CHAOS:-10m} $(GO) test ./cmd -run '^TestChaos' -count=1 -v -timeout 0

soak: go ## crash loops, floods of lines and followers for an hour (GOPM_SOAK=4h): nothing may grow
	tools/parts test
	GOPM_SOAK=$${GOPM_SOAK:-1h} $(GO) test ./cmd -run '^TestSoak$$' -count=1 -v -timeout 0

check: build ## gofmt, vet, staticcheck, imports, sizes, init costs, arm64
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	tools/parts check
	$(STATICCHECK) ./...
	$(GO) run ./tools/check -binary bin/gopm
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -buildvcs=false -o /dev/null ./...

bench: build ## measure gopm against pm2 and against what the machine can do
	tools/parts bench
	$(GO) run ./bench -gopm bin/gopm $(BENCHFLAGS)

bench-peers: build ## measure gopm beside all its peers, about ten minutes, and write docs/benchmarks.md anew
	tools/parts peers
	$(GO) run ./bench -gopm bin/gopm -peers -page docs/benchmarks.md $(BENCHFLAGS)

# The time of the files in the archives: that of the last commit.
release release-check: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

release: go ## build dist/: an archive for amd64 and arm64 each, with licences and SHA256SUMS
	$(GO) run ./tools/release -version $(VERSION)

release-check: go ## build the release twice, from two folders without a cache: the same bytes
	GO="$(GO)" tools/release-check $(VERSION)

install: ## put bin/gopm into PREFIX/bin (/usr/local), also over a running one
	@[ -x bin/gopm ] || $(MAKE) build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 bin/gopm "$(DESTDIR)$(PREFIX)/bin/.gopm.new"
	mv -f "$(DESTDIR)$(PREFIX)/bin/.gopm.new" "$(DESTDIR)$(PREFIX)/bin/gopm"

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

go:
	@tools/need-go "$(GO)"
