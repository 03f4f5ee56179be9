"""The version of the package, alone so that `snapengine --version` loads nothing else."""

__version__ = "0.1.0"
