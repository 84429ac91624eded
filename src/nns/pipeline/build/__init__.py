"""Building a zoo: datasets x architectures, trained, fingerprinted and stored."""

from nns.pipeline.build.building import BuildEvent, BuildReport, build_zoo, default_workers
from nns.pipeline.build.settings import BuildSettings, read_recipe

__all__ = ["BuildEvent", "BuildReport", "BuildSettings", "build_zoo", "default_workers", "read_recipe"]
