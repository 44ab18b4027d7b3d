# SPDX-License-Identifier: GPL-3.0-or-later
# What a person types. Everything it needs it installs itself, into .venv-* and .ansible.

.DEFAULT_GOAL := help
.PHONY: help quickstart test check scenario venv canary docs build clean bench-truth bench-truth-cpu bench-ollama bench-downloads bench-distribution

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

quickstart: ## from a bare machine to an answer (HOSTS=user@host: on that host instead of a lab host)
	@tests/run quickstart "$(HOSTS)"

test: ## all tests, from nothing
	@tests/run test

check: ## the fast part: lint, sanity, unit tests
	@tests/run check

scenario: ## one molecule scenario from nothing to verified: make scenario NAME=vllm
	@tests/run scenario "$(NAME)"

venv: ## the two environments: ansible-core 2.19 and 2.21
	@tests/run venv

bench-truth: ## plans against measured deployments and llama.cpp's own figures: the tables of docs/truth.md
	@tests/run bench-truth

bench-truth-cpu: ## plans against vLLM engines that are really started on this machine's CPU (three minutes)
	@tests/run bench-truth-cpu

bench-ollama: ## how long the role ollama takes on a fresh host, and again (three rounds)
	@tests/run bench-ollama

bench-downloads: ## model_download beside hf download, aria2c and curl over one line; and killed twenty times (needs root and nginx)
	@tests/run bench-downloads

bench-distribution: ## a model on eight lab hosts, directly, by a mirror, by a swarm: docs/distribution.md (ten minutes)
	@tests/run bench-distribution

canary: ## train the canary model again
	@tests/run canary

docs: ## write the generated parts of the documentation
	@tests/run docs

build: ## the collection's tarball, under build/
	@tests/run build

clean: ## remove the lab's hosts and everything that make made here
	@tests/run clean
