# culvert's make targets; `make` alone lists them.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
TIMEOUT ?= 40m

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

SHELL = bash
.SHELLFLAGS = -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help build demo test peers bench lint cross fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

build: ## bin/culvertd and bin/culvert, static
	$(BUILD) -o bin/ ./cmd/culvertd ./cmd/culvert

# culvert's platforms; culvertd is for Unix.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

cross: ## culvert builds for every platform
	@for p in $(PLATFORMS); do echo "$$p" && GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/culvert; done

demo: build ## the whole path in ten seconds; HOLD=1 leaves it running
	@$(GO) run ./cmd/demo $(if $(HOLD),-hold)

test: peers ## everything, with the race detector and real programs
	$(GO) test -race -timeout=$(TIMEOUT) ./...

peers: ## get the programs of others that the tests use
	@internal/peers/fetch.sh

bench: build peers ## side by side with OpenSSH
	$(GO) run ./bench

lint: peers ## what .ci/run asks besides the tests
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@bad=$$($(TOOL) gofumpt -l .) && [ -z "$$bad" ] || { echo "run gofumpt -w:" $$bad >&2; exit 1; }
	$(GO) mod tidy -diff
	PATH=$$PWD/.cache/peers/bin:$$PATH mandoc -T lint -W warning man/*.[1-8]

fuzz: ## each fuzz target for FUZZTIME
	@$(GO) list ./... | while read -r package; do \
		$(GO) test -list '^Fuzz' "$$package" | sed -n '/^Fuzz/p' | while read -r target; do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

clean: ## what was built and fetched
	rm -rf bin .cache
