# For those whose fingers type make; everything is in ./run. Arguments go in ARGS: make test ARGS="-k lab".
.PHONY: app test check bench docs picture lint lock help
.DEFAULT_GOAL := help

app test check bench docs picture lint lock help:
	@./run $@ $(ARGS)
