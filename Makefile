# `make` lists the targets.
GO      ?= go
LOADED  := ./internal/server/...
BROWSED := ./web/console/...
# SQLite under the race detector is nine times slower: everything but the load and crash tests, and a browser's, runs under it.
RACED   = $(shell $(GO) list ./... | grep -v -e /internal/server$$ -e /web/console$$)

.PHONY: help deps lint test race chaos fuzz generate sdk console demo bench

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

deps: ## fetch Go modules and tools; where that is allowed, what else the tests run: a C compiler, database servers, Node, Python, Java, curl, Chromium
	$(GO) mod download
	cd tools && $(GO) mod download
	@need=; command -v cc >/dev/null || need="gcc libc6-dev"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || need="$$need postgresql"; \
	command -v mariadbd >/dev/null || test -x /usr/sbin/mariadbd || command -v mysqld >/dev/null || need="$$need mariadb-server"; \
	command -v npm >/dev/null || need="$$need nodejs npm"; \
	command -v python3 >/dev/null || need="$$need python3"; \
	command -v javac >/dev/null || need="$$need default-jdk-headless"; \
	command -v curl >/dev/null || need="$$need curl"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || need="$$need chromium fonts-noto-cjk"; \
	if [ -n "$$need" ]; then if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q $$need; \
	else echo "not installed: $$need; the tests that need them are skipped"; fi; fi

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	cd tools && $(GO) build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	./bin/staticcheck ./...

test: deps ## all tests: under the race detector, load and crash tests without it
	@if command -v cc >/dev/null; then race=-race; \
	elif [ "$$HONGYAN_TEST_REQUIRE" = all ]; then echo "the race detector needs a C compiler (cc), and HONGYAN_TEST_REQUIRE=all lets nothing be skipped" >&2; exit 1; \
	else race=; echo "skipped: the race detector, which needs a C compiler (cc)"; fi; \
	$(GO) test $$race -timeout 40m $(RACED)
	$(GO) test -timeout 20m -parallel 16 $(LOADED) # they mostly wait for leases
	$(GO) test -timeout 20m $(BROWSED) # a browser wants the machine for itself

chaos: ## the crash tests on all databases in their long form
	HONGYAN_TEST_LONG=1 $(GO) test -count=1 -timeout 60m -parallel 12 -run TestChaos -v ./internal/server

fuzz: ## every fuzz target for 60 s
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s -fuzzminimizetime 20x $$p || exit 1; \
	  done; done

generate: ## rebuild docs/openapi.yaml, docs/config.md and docs/errors.md
	$(GO) run ./cmd/hongyan generate docs --dir docs
	$(GO) test ./internal/api -run OpenAPI -update

sdk: ## rebuild the committed files of the mini-program SDK (needs Node)
	cd sdk/miniprogram && npm ci --ignore-scripts --no-audit --no-fund && npm run build
	rm -rf examples/miniprogram/miniprogram/hongyan
	cp -R sdk/miniprogram/miniprogram_dist examples/miniprogram/miniprogram/hongyan

console: ## rebuild the console's committed files (needs Node)
	cd web/console && npm ci --ignore-scripts --no-audit --no-fund && npm run types && npm run check && npm run build

demo: ## the server and a local WeChat, ready to try
	$(GO) run ./cmd/hongyan demo

bench: ## micro-benchmarks of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem . ./wechat ./internal/api ./internal/ledger/... ./internal/token
