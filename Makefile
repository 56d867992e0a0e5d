# Needs Python 3.11 or later with pip. Another interpreter: `make test PYTHON=python3.12`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the HTML report inlines, and the packages that these files are made of.
VENDOR := src/unstick/report/page/vendor
INLINED := vega/build/vega.min.js vega-lite/build/vega-lite.min.js vega-embed/build/vega-embed.min.js \
	sortable-tablesort/dist/sortable.min.js sortable-tablesort/dist/sortable.a11y.min.js
PACKAGES := vega vega-lite vega-embed vega-schema-url-parser vega-themes vega-tooltip sortable-tablesort \
	d3-* delaunator fast-json-patch internmap json-stringify-pretty-compact robust-predicates semver topojson-client

.PHONY: demo docs test format vendor clean

demo: $(VENV)/.installed-demo
	$(BIN)/unstick demo $(ARGS)

test: $(VENV)/.installed-dev node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=2 --dist=loadfile $(ARGS)

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees docs build/docs
	@echo build/docs/index.html

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

vendor: node_modules/.installed
	cp $(INLINED:%=node_modules/%) $(VENDOR)
	cd node_modules && for package in $(PACKAGES); do printf '== %s\n\n' $$package; cat $$package/LICENSE*; echo; done \
		> ../$(VENDOR)/LICENSES.txt

clean:
	rm -rf $(VENV) node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One stamp for each extra: made again when what is to be installed changes.
# `pip --python` spares the environment a pip of its own, which some Linux systems cannot provide.
$(VENV)/.installed-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("unstick needs Python 3.11 or later; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt --editable ".[$*]"
	@touch $@

# The packages of package.json: for `vendor`, and for the tests of the HTML report.
node_modules/.installed: package.json package-lock.json .npmrc
	@command -v npm > /dev/null || { echo "The HTML report is tested with packages of Node.js: install npm, for instance with apt-get install npm." >&2; exit 1; }
	npm ci --ignore-scripts
	@touch $@
