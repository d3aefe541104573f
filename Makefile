# culvert's make targets; `make` alone lists them.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
TIMEOUT ?= 40m

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod

# What stands behind it is built with our patches to golang.org/x/crypto; PATCHES= leaves them out (see patches/README.md).
PATCHED = modfile=$$(patches/apply.sh) && GOFLAGS="$$($(GO) env GOFLAGS) -modfile=$$modfile"
BUILD = $(PATCHED) CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

SHELL = bash
.SHELLFLAGS = -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help build install install-client install-bastion deb image demo test upstream peers bench bench-check lint cross fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## bin/culvertd and bin/culvert, static
	$(BUILD) -o bin/ ./cmd/culvertd ./cmd/culvert

# culvert's platforms; culvertd is for Unix.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Where things go; DESTDIR stands before it. A package has PREFIX=/usr.
PREFIX ?= /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share
INSTALL = install -D -m 644

install: install-client install-bastion ## into PREFIX, /usr/local unless it is set

install-client: build
	install -D bin/culvert $(DESTDIR)$(PREFIX)/bin/culvert
	$(INSTALL) -t $(SHARE)/man/man1 man/culvert.1
	$(INSTALL) -t $(SHARE)/man/man5 man/culvert_config.5
	$(INSTALL) cmd/culvert/completions/bash $(SHARE)/bash-completion/completions/culvert
	$(INSTALL) cmd/culvert/completions/zsh $(SHARE)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)/_culvert
	$(INSTALL) cmd/culvert/completions/fish $(SHARE)/fish/vendor_completions.d/culvert.fish
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/lib/systemd/user dist/culvert.service
	sed -i 's,/usr/bin/culvert,$(PREFIX)/bin/culvert,' $(DESTDIR)$(PREFIX)/lib/systemd/user/culvert.service
	$(INSTALL) LICENSE $(SHARE)/doc/culvert/copyright

install-bastion: build
	install -D bin/culvertd $(DESTDIR)$(PREFIX)/sbin/culvertd
	$(INSTALL) -t $(SHARE)/man/man8 man/culvertd.8
	$(INSTALL) -t $(SHARE)/man/man5 man/culvertd_config.5
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/lib/systemd/system dist/culvertd.service dist/culvertd.socket
	$(INSTALL) dist/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/culvert.conf
	$(INSTALL) LICENSE $(SHARE)/doc/culvertd/copyright
	$(INSTALL) -t $(SHARE)/doc/culvertd/examples dist/culvertd.service.d/*
	sed -i 's,/usr/sbin/culvertd,$(PREFIX)/sbin/culvertd,' $(DESTDIR)$(PREFIX)/lib/systemd/system/culvertd.service

# A tag v1.2 is version 1.2, and what comes before the first tag is in the order of time.
DEB_VERSION = $(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed 's/^v//' | grep . || git log -1 --format=0~%cd.%h --date=format:%Y%m%d%H%M%S)
DEB = .cache/deb
BIN = bin

deb: ## the packages bin/*.deb: the client's and the bastion's; GOARCH=arm64 for another processor
	rm -rf $(DEB)
	$(MAKE) install-client PREFIX=/usr DESTDIR=$(DEB)/culvert
	$(MAKE) install-bastion PREFIX=/usr DESTDIR=$(DEB)/culvertd
	gzip -9n $(DEB)/*/usr/share/man/man*/*
	for name in culvert culvertd; do \
		env -u GOOS -u GOARCH DEB_ROOT=$(DEB) DEB_ARCH=$$($(GO) env GOARCH) DEB_VERSION=$(DEB_VERSION) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
			$(TOOL) nfpm package -f dist/deb/$$name.yaml -p deb -t $(BIN)/; \
	done

image: build ## a container with culvertd in it and nothing else
	docker build -f dist/Containerfile -t culvertd .

cross: ## culvert builds for every platform
	@for p in $(PLATFORMS); do echo "$$p" && $(PATCHED) GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/culvert; done

demo: build ## the whole path in ten seconds; HOLD=1 leaves it running
	@$(PATCHED) $(GO) run ./cmd/demo $(if $(HOLD),-hold)

test: peers ## everything, with the race detector and real programs
	$(PATCHED) $(GO) test -race -timeout=$(TIMEOUT) ./...

upstream: ## x/crypto/ssh's own tests, with our patches
	$(PATCHED) $(GO) test -timeout=5m golang.org/x/crypto/ssh golang.org/x/crypto/ssh/agent golang.org/x/crypto/ssh/knownhosts golang.org/x/crypto/ssh/test

peers: ## get the programs of others that the tests use
	@internal/peers/fetch.sh

bench: build peers ## side by side with OpenSSH, some twenty minutes; into docs/performance
	$(PATCHED) $(GO) run ./bench -docs docs $(BENCHFLAGS)

bench-check: build peers ## the same, and whether a ratio is worse than the committed one
	$(PATCHED) $(GO) run ./bench -check $(BENCHFLAGS)

lint: peers ## what .ci/run asks besides the tests
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@bad=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go')) && [ -z "$$bad" ] || { echo "run gofumpt -w:" $$bad >&2; exit 1; }
	$(GO) mod tidy -diff
	PATH=$$PWD/.cache/peers/bin:$$PATH mandoc -T lint -W warning man/*.[1-8]

fuzz: ## each fuzz target for FUZZTIME
	@$(PATCHED) && export GOFLAGS && $(GO) list ./... | while read -r package; do \
		$(GO) test -list '^Fuzz' "$$package" | sed -n '/^Fuzz/p' | while read -r target; do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

clean: ## what was built and fetched
	rm -rf bin .cache
