"""Many at once: processes that work on one store, some of them killed, and a model of what each has done."""
